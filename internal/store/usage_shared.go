package store

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// In a fleet, the usage of a key is the sum of what its gateways have counted. Each start
// of a gateway is an origin, which counts from zero and tells the others its totals: so
// they can be told again, and nothing has to be added up that another gateway writes at
// the same moment. A store that belongs to no fleet counts under the origin "".

// originSize is the length of the origins of gateways.
const originSize = 16

// beginOrigin has the replica count under an origin of its own.
func (s *Store) beginOrigin() error {
	s.origin = rand.Text()[:originSize]
	return s.noteUsageNote(func(note *apikey.UsageNote) { note.Untold = append(note.Untold, s.origin) })
}

// UsageOrigin returns the origin under which the replica counts.
func (s *Store) UsageOrigin() string { return s.origin }

// UsageNote returns what a gateway has to know after a restart.
func (s *Store) UsageNote() (note apikey.UsageNote, err error) {
	err = s.view(func(txn *durable.Txn) error {
		note, err = usageNoteIn(txn)
		return err
	})
	return note, err
}

// usageNoteIn returns the note. Without one, what the store has was counted before it
// belonged to a fleet.
func usageNoteIn(txn reader) (apikey.UsageNote, error) {
	note := apikey.UsageNote{Untold: []string{""}}
	return note, loadIfThere(txn, usageNoteKey, &note)
}

func (s *Store) noteUsageNote(change func(*apikey.UsageNote)) error {
	return s.wrapInternal(s.db.Note(func(txn *durable.Txn) error {
		note, err := usageNoteIn(txn)
		if err != nil {
			return err
		}
		change(&note)
		return save(txn, usageNoteKey, note)
	}))
}

// NoteUsageTold notes that the other gateways have been told all that was counted under
// some origins.
func (s *Store) NoteUsageTold(origins []string) error {
	return s.noteUsageNote(func(note *apikey.UsageNote) {
		note.Untold = slices.DeleteFunc(note.Untold, func(origin string) bool { return slices.Contains(origins, origin) })
	})
}

// NoteUsageMerged notes up to which revision of etcd the counts of others are known.
func (s *Store) NoteUsageMerged(revision int64) error {
	return s.noteUsageNote(func(note *apikey.UsageNote) { note.Merged = revision })
}

// EachUsage calls visit for all that was counted under some origins since a day. Visit
// must not use the store.
func (s *Store) EachUsage(ctx context.Context, origins []string, since apikey.Day, visit func(origin string, one apikey.KeyDay, usage apikey.Usage)) error {
	if err := s.foldUsage(ctx); err != nil {
		return err
	}
	pacer := durable.NewPacer(ctx)
	return s.view(func(txn *durable.Txn) error {
		from, end := usageKey(periodOf(since), ""), []byte("z0") // 0 comes after /
		return eachFrom(ctx, txn, from, end, func(key, value []byte) error {
			p, keyID, origin, ok := splitUsageKey(key)
			if ok && slices.Contains(origins, origin) {
				for i, usage := range usageIn(value) {
					if day := p.day(i); day >= since && usage != (apikey.Usage{}) {
						visit(origin, apikey.KeyDay{KeyID: keyID, Day: day}, usage)
					}
				}
			}
			return pacer.Step()
		})
	})
}

// MergeUsage notes the totals of a day that another gateway has counted under an origin,
// by key. They may be older than what is known.
func (s *Store) MergeUsage(origin string, day apikey.Day, totals map[string]apikey.Usage) error {
	return s.noteUsage(func() (map[countedDay][]keyTotal, error) {
		one, news := countedDay{origin, day}, make([]keyTotal, 0, len(totals))
		for keyID, total := range totals {
			id, ok := apikey.BytesOfKeyID(keyID)
			if known, recent := s.recent.total(one, id); ok && (!recent || known.Latest(total) != known) {
				news = append(news, keyTotal{id, total})
			}
		}
		if len(news) == 0 {
			return nil, nil
		}
		return map[countedDay][]keyTotal{one: news}, nil
	})
}
