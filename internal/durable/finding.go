package durable

import (
	"fmt"
	"strings"
)

// Severity is how serious a finding is.
type Severity string

const (
	Fine    Severity = "ok"
	Warning Severity = "warning"
	Fault   Severity = "error"
)

// Finding is the result of checking one aspect of a database.
type Finding struct {
	Check    string // what was checked, in one word
	Severity Severity
	Message  string // what was found, as a sentence
	Advice   string // what to do; "" if nothing
}

// Finef returns a finding that all is well.
func Finef(check, format string, args ...any) Finding {
	return finding(Fine, check, "", format, args)
}

// Warningf returns a finding that something will go wrong, or could be safer.
func Warningf(check, advice, format string, args ...any) Finding {
	return finding(Warning, check, advice, format, args)
}

// Faultf returns a finding that something is wrong.
func Faultf(check, advice, format string, args ...any) Finding {
	return finding(Fault, check, advice, format, args)
}

func finding(severity Severity, check, advice, format string, args []any) Finding {
	message := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ") // from errors.Join
	return Finding{Check: check, Severity: severity, Message: message, Advice: advice}
}

const (
	// AdviceRestart is for damaged files that a restart repairs.
	AdviceRestart = "Take a backup, then restart the server: it rebuilds the files from the journal. Then find out what damages files on this disk."
	// AdviceRescue is for files from which a restart could rebuild nothing, while
	// the running process still has everything.
	AdviceRescue = "Take a backup now, before you stop the server: it would not start again. Then stop it, move the damaged store away, restore the backup into an empty directory, and start it."
)
