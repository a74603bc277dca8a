package apikey

// Severity says how bad a finding is.
type Severity string

const (
	Fine    Severity = "ok"
	Warning Severity = "warning" // something is going to go wrong, or is not as safe as it could be
	Fault   Severity = "error"   // something is wrong
)

// Finding is what was found when one thing about a store or its server was
// checked.
type Finding struct {
	Check    string // what was checked, in a word
	Severity Severity
	Message  string // what was found, as a sentence
	Advice   string // what to do; "" where nothing need be done
}
