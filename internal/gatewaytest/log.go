package gatewaytest

import (
	"bytes"
	"strings"
	"sync"
)

// Log collects the output of a process, and can be read while the process runs.
type Log struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes.String()
}

// Troubles returns the last lines of a JSON log above level info.
func (l *Log) Troubles() string {
	var lines []string
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, `"level":"debug"`) && !strings.Contains(line, `"level":"info"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

// Tail returns the last n bytes.
func (l *Log) Tail(n int) string {
	all := l.String()
	return all[max(0, len(all)-n):]
}
