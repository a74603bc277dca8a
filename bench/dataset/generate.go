package dataset

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/oklog/ulid/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// writeBackup writes a backup of keys. Restoring it is many times faster than creating
// the keys one by one.
func (d *Data) writeBackup(to io.Writer) error {
	compressed, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	w := &backupWriter{to: bufio.NewWriterSize(compressed, 256<<10), sum: sha256.New()}
	w.line("caddy_api_keys_backup", map[string]int64{"version": 1, "made_at": time.Now().UnixMilli()})
	begin := time.Now().Add(-within)
	for i := range d.Keys {
		token := apikey.NewToken(apikey.DefaultPrefix)
		if rand.IntN(d.Keys) < sampled {
			d.Tokens = append(d.Tokens, token)
		}
		key := d.key(i, token, begin)
		w.line("key", map[string]any{
			"id": key.ID, "workspace_id": key.WorkspaceID, "name": key.Name, "owner": key.Owner, "preset": key.Preset,
			"digest": key.Digest[:], "token_hint": key.TokenHint, "created_at": key.CreatedAt.UnixMilli(), "created_by": key.CreatedBy,
			"expires_at": key.ExpiresAt.UnixMilli(),
		})
	}
	unused := apikey.NewToken(apikey.DefaultPrefix)
	for i := range d.Keys {
		key := d.key(i, unused, begin)
		w.line("event", map[string]any{
			"id": "evt_" + key.ID[len("key_"):], "at": key.CreatedAt.UnixMilli(), "actor": "bench", "operation": apikey.OpCreate,
			"workspace_id": key.WorkspaceID, "key_id": key.ID, "details": map[string]any{"name": key.Name},
		})
	}
	return w.end(compressed)
}

// within is the period in which the keys were created.
const within = 80 * 24 * time.Hour

// key returns the key with a number. Keeping all of them would take too much memory.
func (d *Data) key(i int, token apikey.Token, begin time.Time) apikey.Key {
	at := begin.Add(within / time.Duration(d.Keys) * time.Duration(i)).Truncate(time.Millisecond).UTC()
	// Workspaces take turns, so that the keys of one are far apart.
	key := Key(i%d.Workspaces, i/d.Workspaces, token, at)
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(at)) // fails only for times beyond the year 10000
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	key.ID = "key_" + id.String()
	return key
}

// backupWriter writes the lines of a backup until a write fails.
type backupWriter struct {
	to    *bufio.Writer
	sum   hash.Hash
	lines int
	err   error
}

func (w *backupWriter) line(name string, record any) {
	line, err := json.Marshal(map[string]any{name: record})
	if w.err == nil {
		w.err = err
	}
	if w.err != nil {
		return
	}
	line = append(line, '\n')
	w.lines++
	w.sum.Write(line)
	_, w.err = w.to.Write(line)
}

func (w *backupWriter) end(compressed io.Closer) error {
	w.line("end", map[string]any{"lines": w.lines, "sha256": hex.EncodeToString(w.sum.Sum(nil))})
	if w.err == nil {
		w.err = w.to.Flush()
	}
	if err := compressed.Close(); w.err == nil {
		w.err = err
	}
	return w.err
}
