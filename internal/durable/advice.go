package durable

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// causes are the system errors that reading or writing a file may fail with, and
// what an operator does about each.
var causes = []struct {
	is     []syscall.Errno
	advice string
	// transient means that the cause lies outside the files: they are intact once
	// it is gone, and must not be taken for damaged.
	transient bool
}{
	{[]syscall.Errno{syscall.EACCES, syscall.EPERM}, "the user that runs this process must own the directory and be able to write to it", true},
	{[]syscall.Errno{syscall.EROFS}, "the store's file system must be writable", true},
	{[]syscall.Errno{syscall.ENOSPC}, "free some disk space, or some inodes if df -i shows that none are left", true},
	{[]syscall.Errno{syscall.EDQUOT}, "the quota on this disk is used up: raise it, or free some space", true},
	{[]syscall.Errno{syscall.EFBIG}, "raise the limit on the size of a file (ulimit -f, or LimitFSIZE of the systemd unit)", true},
	{[]syscall.Errno{syscall.ENFILE}, "raise the limit on open files of this machine (sysctl fs.file-max)", true},
	{[]syscall.Errno{syscall.EMFILE}, "raise the limit on open files of this process (ulimit -n, or LimitNOFILE of the systemd unit)", true},
	{[]syscall.Errno{syscall.ENOMEM}, "the machine has no memory left, or the service has reached its limit: add memory, or raise the limit", true},
	{[]syscall.Errno{syscall.EIO}, "the disk is failing: check the kernel's log, and move the whole store directory to a healthy disk", true},
	{[]syscall.Errno{syscall.ESTALE, syscall.ENOTCONN, syscall.ETIMEDOUT, syscall.EHOSTDOWN}, "its file system does not respond: mount it again, or better, put the store on a local disk", true},
	{[]syscall.Errno{syscall.ENOLCK, syscall.EOPNOTSUPP, syscall.ENOSYS}, "this file system does not support locks, which keep a second process out: put the store on a local disk", true},
	{[]syscall.Errno{syscall.ENODEV}, "this file system cannot map files into memory: put the store on a local disk", true},
	{[]syscall.Errno{syscall.ENAMETOOLONG}, "choose a shorter path", true},
	{[]syscall.Errno{syscall.ELOOP}, "the path contains a loop of symbolic links: correct them", true},
	{[]syscall.Errno{syscall.ENOTDIR}, "the path must be a directory", false},
	{[]syscall.Errno{syscall.ENOENT}, "correct the path, or mount the file system that it is on", false},
}

// adviceFor returns the advice on a system error, or "".
func adviceFor(err error) string {
	for _, cause := range causes {
		if isAny(err, cause.is) {
			return cause.advice
		}
	}
	return ""
}

// Advise appends the advice on a system error to it, unless it has been already.
func Advise(err error) error {
	if _, already := errors.AsType[*advised](err); already {
		return err
	}
	if advice := adviceFor(err); advice != "" {
		return &advised{err, advice}
	}
	return err
}

type advised struct {
	error
	advice string
}

func (e *advised) Error() string { return e.error.Error() + ": " + e.advice }
func (e *advised) Unwrap() error { return e.error }

// adviceSentence returns the advice on a system error as a sentence, or "".
func adviceSentence(err error) string {
	advice := adviceFor(err)
	if advice == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(advice)
	return strings.ReplaceAll(string(unicode.ToUpper(first))+advice[size:]+".", "this process", "the server")
}

// isTransient reports whether an error says nothing about what the files hold,
// because its cause lies outside them.
func isTransient(err error) bool {
	if err == nil {
		return false
	}
	for _, cause := range causes {
		if cause.transient && isAny(err, cause.is) {
			return true
		}
	}
	return locked(err)
}

func isAny(err error, targets []syscall.Errno) bool {
	return slices.ContainsFunc(targets, func(target syscall.Errno) bool { return errors.Is(err, target) })
}

// fromBadger restores the cause of an error that Badger has turned into text.
// Without it, files that could not be opened would be taken for damaged.
func fromBadger(err error) error {
	if err == nil {
		return nil
	}
	if strings.Contains(err.Error(), syscall.EWOULDBLOCK.Error()) {
		return &causedError{err, syscall.EWOULDBLOCK}
	}
	for _, cause := range causes {
		for _, errno := range cause.is {
			if cause.transient && strings.Contains(err.Error(), errno.Error()) {
				return &causedError{err, errno}
			}
		}
	}
	return err
}

// causedError is an error with a cause that it does not wrap by itself.
type causedError struct {
	error
	cause error
}

func (e *causedError) Unwrap() []error { return []error{e.error, e.cause} }
