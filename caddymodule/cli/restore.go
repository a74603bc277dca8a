package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/present"
	"github.com/agiled/caddy-api-keys/internal/store"
)

func restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore [--quarantine] [--store PATH] FILE",
		Short: "Adds what is in a backup and not in the store",
		Long: `Adds what is in a backup and not in the store. What was created or changed after the
backup stays as it is, and no revoked key becomes active again. The whole backup is read
and checked before anything is changed.

A store that was lost does not know what was revoked after the backup. With
--quarantine, every workspace with keys in the backup that are not revoked is suspended
first: review them, and resume them one by one.

Without --store, the running server restores the backup, and suspensions take effect
immediately. With --store, this command restores it into the store of a stopped
server. FILE may be - for standard input.

A server with a backup_key restores only backups signed with it. With --store, the key
is taken from ` + store.BackupKeyVariable + `. Without a key, no signature is required.`,
		Example: `  caddy api-keys restore /var/backups/keys.backup
  runuser -u caddy-api-keys -- caddy api-keys restore --store /var/lib/caddy-api-keys/api_keys --quarantine - < /var/backups/keys.backup`,
	}
	quarantine := cmd.Flags().Bool("quarantine", false, "Suspend every workspace with keys in the backup that are not revoked")
	path := cmd.Flags().String("store", "", "Store directory of a stopped server")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) != 1 {
			return usagef("give one FILE")
		}
		if args[0] == onStdin {
			if _, err := stdin(cmd); err != nil {
				return err
			}
		}
		file, err := openBackup(args[0], cmd.InOrStdin())
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return usagef("%q is not a file", args[0])
		}
		answer, err := restoreFile(ctx, t, cmd.ErrOrStderr(), file, info.Size(), *path, *quarantine)
		if err != nil {
			return err
		}
		if answer.Warning != "" {
			_ = say(cmd.ErrOrStderr(), "%s\n", answer.Warning)
		}
		return t.restored(answer)
	})
}

// openBackup opens a file, or copies standard input to a temporary one: a backup is read
// twice, and its size has to be known.
func openBackup(path string, stdin io.Reader) (*os.File, error) {
	if path != "-" {
		return os.Open(path)
	}
	file, err := os.CreateTemp("", "caddy-api-keys-*.backup")
	if err != nil {
		return nil, err
	}
	_, copyErr := io.Copy(file, stdin)
	_, seekErr := file.Seek(0, io.SeekStart)
	if err := errors.Join(os.Remove(file.Name()), copyErr, seekErr); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func restoreFile(ctx context.Context, t *terminal, log io.Writer, file io.ReadSeeker, size int64, path string, quarantine bool) (client.Restoration, error) {
	if path == "" {
		p := newProgress(log, "Sending the backup", size)
		defer p.end()
		return t.client.Restore(ctx, io.TeeReader(file, p), client.RestoreOptions{Size: size, Quarantine: quarantine})
	}
	if err := store.Owned(path); err != nil {
		return client.Restoration{}, err
	}
	key, err := backupKey()
	if err != nil {
		return client.Restoration{}, err
	}
	// Before a store is created for it.
	if _, err := store.CheckBackup(ctx, key, file, time.Now()); err != nil {
		return client.Restoration{}, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return client.Restoration{}, err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	keys, err := store.Open(path, zap.NewNop(), nil)
	if err != nil {
		return client.Restoration{}, orAskServer(err)
	}
	keys.SignWith(key)
	keys.Alone()
	p := newProgress(log, "Restoring the backup", size)
	defer p.end()
	now := time.Now().UTC().Truncate(time.Millisecond)
	done, err := keys.Restore(ctx, file, apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: apikey.CommandLine}, apikey.Restore{Quarantine: quarantine}, p)
	return present.Restoration(done), errors.Join(err, keys.Close())
}

// restored prints the result of a restore.
func (t *terminal) restored(answer client.Restoration) error {
	if t.form == "json" {
		return t.json(answer)
	}
	r := answer.Restored
	return say(t.out, `Restored the backup of %s:
  %d keys added, %d of them under another name
  %d keys already known, %d of them revoked by the backup
  %d workspaces suspended as in the backup, %d to be reviewed
  %d events added to the audit trail
`, t.when(r.MadeAt), r.Keys, r.Renamed, r.Known, r.Revoked, r.Suspended, r.Quarantined, r.Events)
}

func (t *terminal) when(at time.Time) string { return at.Format(time.RFC3339) }
