package delivery

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// memory is the model of an outbox. The real ones are held against it in their packages.
type memory struct {
	mu       sync.Mutex
	messages map[string]map[string][]webhook.Message // by receiver and workspace, in order
	changes  uint64
	dropped  int
	broken   error // of Done
	largest  int   // page that was read
	read     int   // messages
	added    chan struct{}
	lead     chan struct{} // has an element while nobody leads
	lose     func()        // ends the lead
	resigned func()
}

func newMemory() *memory {
	m := &memory{messages: make(map[string]map[string][]webhook.Message), added: make(chan struct{}, 1), lead: make(chan struct{}, 1), resigned: func() {}}
	m.lead <- struct{}{}
	return m
}

func (m *memory) add(receiver, workspace string, subjects ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.messages[receiver] == nil {
		m.messages[receiver] = make(map[string][]webhook.Message)
	}
	for _, subject := range subjects {
		m.changes++
		message := webhook.Message{
			ID: webhook.NewID(m.changes, 0), Receiver: receiver, Workspace: workspace, Subject: subject, Type: webhook.KeyCreated,
			At: time.Now(), Body: []byte(subject),
		}
		m.messages[receiver][workspace] = append(m.messages[receiver][workspace], message)
	}
	select {
	case m.added <- struct{}{}:
	default:
	}
}

func (m *memory) Lead(ctx context.Context) (context.Context, func(), error) {
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-m.lead:
		leading, lose := context.WithCancel(ctx)
		m.mu.Lock()
		m.lose = lose
		m.mu.Unlock()
		return leading, func() {
			lose()
			m.resigned()
			m.lead <- struct{}{}
		}, nil
	}
}

func (m *memory) Announce(context.Context, time.Time) (bool, error) { return false, nil }

func (m *memory) Workspaces(receiver string) (workspaces []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for workspace, messages := range m.messages[receiver] {
		if len(messages) > 0 {
			workspaces = append(workspaces, workspace)
		}
	}
	slices.Sort(workspaces)
	return workspaces
}

func (m *memory) Pending(_ context.Context, receiver, workspace, after string, most int) ([]webhook.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.messages[receiver][workspace]
	i, found := slices.BinarySearchFunc(all, after, func(m webhook.Message, id string) int { return cmp.Compare(m.ID, id) })
	if found {
		i++
	}
	page := slices.Clone(all[i:min(i+most, len(all))])
	m.largest, m.read = max(m.largest, len(page)), m.read+len(page)
	return page, nil
}

func (m *memory) Done(_ context.Context, done ...webhook.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	for _, d := range done {
		all := m.messages[d.Receiver][d.Workspace]
		if i := slices.IndexFunc(all, func(m webhook.Message) bool { return m.ID == d.ID }); i >= 0 {
			m.messages[d.Receiver][d.Workspace] = slices.Delete(all, i, i+1)
		}
	}
	return nil
}

func (m *memory) Added() <-chan struct{} { return m.added }

func (m *memory) Count(receiver string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, messages := range m.messages[receiver] {
		n += len(messages)
	}
	return n
}

func (m *memory) Dropped(string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dropped
}

func (m *memory) setBroken(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}
