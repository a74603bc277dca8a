package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

func backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup [FILE]",
		Short: "Writes a backup of all keys and their audit trail to a file, or to standard output",
		Long: `Writes a backup of all keys, suspensions, uses, calendar feeds and the audit trail,
as they are at one instant, while the server keeps running. It contains no tokens. Only
you can read the file, and it appears only once the backup is complete and has been read
back. A symbolic link is followed. A FIFO or a device is written to as standard output is:
while the backup is received, and without reading it back. What belongs to another user
than you or root is neither followed nor written to.

If the server has a backup_key, the backup is signed. With the same key in
` + store.BackupKeyVariable + `, the signature is verified when the file is read back.`,
		Example: `  caddy api-keys backup /var/backups/keys.backup
  caddy api-keys backup | ssh backup.example.com 'cat > keys.backup'`,
	}
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		switch {
		case len(args) > 1:
			return usagef("give one FILE, or none")
		case len(args) == 1 && args[0] != "-":
			return backUpTo(ctx, t, cmd.ErrOrStderr(), args[0])
		}
		return backUpToStdout(ctx, t, cmd.ErrOrStderr())
	})
}

// backUpToFile writes a file under a temporary name until it is complete. It is called
// name in what is said of it.
func backUpToFile(ctx context.Context, t *terminal, log io.Writer, name, path string) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if failed, ok := errors.AsType[*fs.PathError](err); ok { // which names the temporary file
		return fmt.Errorf("no file can be created in the directory %s: %w", dir, failed.Err)
	}
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	err = backUp(ctx, t, log, file)
	contents, readErr := readAgain(ctx, file)
	if err == nil {
		err = readErr
	}
	err = errors.Join(err, file.Sync(), file.Close())
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted: no backup was taken")
	case err != nil:
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return t.backedUp(name, contents)
}

func backUp(ctx context.Context, t *terminal, log, to io.Writer) error {
	backup, err := t.client.Backup(ctx)
	if err != nil {
		return err
	}
	defer backup.Close()
	p := newProgress(log, "Receiving the backup", backup.Size)
	defer p.end()
	if _, err := io.Copy(io.MultiWriter(to, p), backup); err != nil {
		return fmt.Errorf("the backup is incomplete: %w", err)
	}
	return nil
}

func readAgain(ctx context.Context, file *os.File) (store.BackupContents, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return store.BackupContents{}, err
	}
	key, err := backupKey()
	if err != nil {
		return store.BackupContents{}, err
	}
	return store.CheckBackup(ctx, key, file, time.Now())
}

// backupKey returns the key from the environment, the zero one if there is none.
func backupKey() (apikey.BackupKey, error) {
	digits := strings.TrimSpace(os.Getenv(store.BackupKeyVariable))
	if digits == "" {
		return apikey.BackupKey{}, nil
	}
	key, err := apikey.ParseBackupKey(digits)
	if err != nil {
		err = fmt.Errorf("%s: %w", store.BackupKeyVariable, err)
	}
	return key, err
}

// interruptible returns a context that the first interrupt cancels, so that the command
// can clean up. The second one ends the process.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// backedUp prints what a backup contains.
func (t *terminal) backedUp(name string, contents store.BackupContents) error {
	if t.form == "json" {
		return t.json(map[string]any{"file": name, "made_at": contents.MadeAt, "keys": contents.Keys, "events": contents.Events})
	}
	return say(t.out, "Backed up %d keys and %d events to %s.\n", contents.Keys, contents.Events, name)
}
