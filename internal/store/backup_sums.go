package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// SignWith makes Backup sign with a key from now on, and Restore accept only what was
// signed with it. The zero key turns both off.
func (s *Store) SignWith(key apikey.BackupKey) { s.backupKey.Store(&key) }

func (s *Store) signingKey() (key apikey.BackupKey) {
	if set := s.backupKey.Load(); set != nil {
		key = *set
	}
	return key
}

// sums are the checksums in the last line, which cover those before it.
type sums struct {
	key  apikey.BackupKey
	sum  hash.Hash
	hmac hash.Hash
}

func newSums(key apikey.BackupKey) sums {
	return sums{key, sha256.New(), key.MAC()}
}

func (s sums) add(line []byte) {
	_, _ = s.sum.Write(line)
	if !s.key.IsZero() {
		_, _ = s.hmac.Write(line)
	}
}

func (s sums) end(lines int) backupEnd {
	end := backupEnd{Lines: lines, SHA256: hex.EncodeToString(s.sum.Sum(nil))}
	if !s.key.IsZero() {
		end.HMAC = hex.EncodeToString(s.hmac.Sum(nil))
	}
	return end
}

var (
	errUnsigned = &apikey.Error{Code: apikey.ErrInvalidBackup.Code, Message: "This backup is not signed, and nothing was changed. " +
		"A gateway with a backup_key restores only what was signed with it. If you know where the backup is from, stop the server and restore it with --store, without a key."}
	errWronglySigned = &apikey.Error{Code: apikey.ErrInvalidBackup.Code, Message: "This backup was not signed with this gateway's backup_key, or was changed since, and nothing was changed. " +
		"If it was signed with an earlier key, stop the server and restore it with --store and that key in " + BackupKeyVariable + "."}
)

// BackupKeyVariable is the environment variable from which the command line takes a
// backup key.
const BackupKeyVariable = "CADDY_API_KEYS_BACKUP_KEY"

// check compares the last line of a backup with the lines that were read.
func (s sums) check(n int, last *backupEnd) error {
	want := s.end(n - 1)
	switch {
	case last.Lines != want.Lines || last.SHA256 != want.SHA256:
		return errDamaged(n, "the checksum does not match")
	case s.key.IsZero():
		return nil
	case last.HMAC == "":
		return errUnsigned
	case !hmac.Equal([]byte(last.HMAC), []byte(want.HMAC)):
		return errWronglySigned
	}
	return nil
}
