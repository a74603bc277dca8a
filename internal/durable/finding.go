package durable

import (
	"fmt"
	"strings"
)

// Severity says how bad a finding is.
type Severity string

const (
	Fine    Severity = "ok"
	Warning Severity = "warning"
	Fault   Severity = "error"
)

// Finding is what was found when one thing about a database was checked.
type Finding struct {
	Check    string // what was checked, in a word
	Severity Severity
	Message  string // what was found, as a sentence
	Advice   string // what to do; "" where nothing need be done
}

// Finef says that nothing is wrong.
func Finef(check, format string, args ...any) Finding {
	return finding(Fine, check, "", format, args)
}

// Warningf says that something is going to go wrong, or is not as safe as it could be.
func Warningf(check, advice, format string, args ...any) Finding {
	return finding(Warning, check, advice, format, args)
}

// Faultf says that something is wrong.
func Faultf(check, advice, format string, args ...any) Finding {
	return finding(Fault, check, advice, format, args)
}

func finding(severity Severity, check, advice, format string, args []any) Finding {
	message := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ") // as errors.Join has them
	return Finding{Check: check, Severity: severity, Message: message, Advice: advice}
}

const (
	// AdviceRestart is what to do where files are damaged, and a start can mend them.
	AdviceRestart = "Take a backup, then restart the server: it rebuilds the files from the journal. Then find out what damages files on this disk."
	// AdviceRescue is what to do where a start could build nothing from what is left,
	// and the process that runs still has everything.
	AdviceRescue = "Take a backup now, before you stop the server: it would not start again. Then stop it, move the damaged store away, restore the backup into an empty directory, and start it."
)
