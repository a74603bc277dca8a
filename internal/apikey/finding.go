package apikey

// Severity is how serious a finding is.
type Severity string

const (
	Fine    Severity = "ok"
	Warning Severity = "warning" // something will go wrong, or is not as safe as it could be
	Fault   Severity = "error"   // something is wrong
)

// Finding is the result of one check of a store or its server.
type Finding struct {
	Check    string // what was checked, in a word
	Severity Severity
	Message  string // what was found, as a sentence
	Advice   string // what to do; "" if nothing
}
