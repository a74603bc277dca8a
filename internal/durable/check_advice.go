package durable

const (
	// AdviceRestart is for damaged files that a restart repairs.
	AdviceRestart = "Take a backup, then restart the server: it rebuilds the files from the journal. Then find out what damages files on this disk."
	// AdviceRescue is for files from which a restart could rebuild nothing, while
	// the running process still has everything.
	AdviceRescue = "Take a backup now, before you stop the server: it would not start again. Then stop it, move the damaged store away, restore the backup into an empty directory, and start it."
)
