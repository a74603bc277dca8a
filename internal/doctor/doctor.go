// Package doctor describes what checks of a store, or of the server that has it open, have
// found.
package doctor

import (
	"fmt"
	"strings"
)

// Severity is how serious a finding is.
type Severity string

const (
	Fine    Severity = "ok"
	Warning Severity = "warning" // something will go wrong, or is less safe than it could be
	Fault   Severity = "error"   // something is wrong
)

// Finding is the result of one check.
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
