package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/migrate"
)

// maxCreateFile bounds a file with keys to create: it is read as a whole, so that a
// mistake in its last line creates none.
const maxCreateFile = 16 << 20

// wanted is a key to create.
type wanted struct {
	line int

	WorkspaceID string `json:"workspace_id"`
	Name        string `json:"name"`
	Owner       string `json:"owner"`
	Preset      string `json:"preset"`
	ExpiresIn   string `json:"expires_in"`
}

// createFrom creates the keys of a file. What the file leaves out is taken from defaults.
func (t *terminal) createFrom(ctx context.Context, cmd *cobra.Command, path string, defaults wanted) error {
	all, err := readWanted(cmd, path, defaults)
	if err != nil {
		return err
	}
	interrupted, stop := interruptible(ctx)
	defer stop()
	if t.form == "table" {
		if err := say(t.out, "%-30s  %-53s  WORKSPACE, NAME\n", "ID", "TOKEN"); err != nil {
			return err
		}
	}
	created := 0
	var refused []error
	for _, w := range all {
		if interrupted.Err() != nil {
			refused = append(refused, fmt.Errorf("interrupted before line %d: to continue, leave out the lines before it", w.line))
			break
		}
		// A call that was begun is finished: nobody would have the token otherwise.
		key, err := t.client.CreateKey(context.WithoutCancel(ctx), w.WorkspaceID, w.request())
		if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Code != "" && refusal.StatusCode < 500 {
			refused = append(refused, fmt.Errorf("line %d: %s", w.line, refusal.Message))
			continue
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("line %d: %s; it is unknown whether this key was created; none after it was", w.line, strings.TrimSuffix(sentence(err), ".")))
			break
		}
		if err := unwritten(key.Key, t.createdOne(key)); err != nil {
			return fmt.Errorf("line %d: %w", w.line, err)
		}
		created++
	}
	if len(refused) == 0 {
		return nil
	}
	for _, err := range refused {
		_ = say(cmd.ErrOrStderr(), "%s\n", err.Error())
	}
	return fmt.Errorf("%d of %s created", created, was(len(all), "key"))
}

func (w *wanted) request() client.CreateRequest {
	request := client.CreateRequest{Name: w.Name, Owner: w.Owner, Preset: w.Preset}
	if w.ExpiresIn != "" {
		request.ExpiresIn = &w.ExpiresIn
	}
	return request
}

// createdOne prints one of several keys, on one line.
func (t *terminal) createdOne(created client.NewKey) error {
	switch t.form {
	case "token":
		return t.token("%s\n", created.Token)
	case "json":
		encoded, err := json.Marshal(created, json.Deterministic(true))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(t.out, "%s\n", visibleJSON(string(encoded)))
		return err
	}
	if err := say(t.out, "%-30s  ", created.Key.ID); err != nil {
		return err
	}
	if err := t.token("%s", created.Token); err != nil {
		return err
	}
	return say(t.out, "  %s, %s\n", created.Key.WorkspaceID, created.Key.Name)
}

// readWanted reads the keys to create, from JSON with one object per line, or from CSV with
// the members as header.
func readWanted(cmd *cobra.Command, path string, defaults wanted) ([]wanted, error) {
	content, err := readCreateFile(cmd, path)
	if err != nil {
		return nil, err
	}
	parse := wantedCSV
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		parse = wantedLines
	}
	all, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w. No key was created", nameOf(path), err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no keys", nameOf(path))
	}
	for i := range all {
		w := &all[i]
		w.WorkspaceID, w.Owner = cmp.Or(w.WorkspaceID, defaults.WorkspaceID), cmp.Or(w.Owner, defaults.Owner)
		w.Preset, w.ExpiresIn = cmp.Or(w.Preset, defaults.Preset), cmp.Or(w.ExpiresIn, defaults.ExpiresIn)
		preset, err := parsePreset(w.Preset)
		switch {
		case w.WorkspaceID == "":
			err = errors.New("there is no workspace_id: add one, or give --workspace")
		case w.Name == "":
			err = errors.New("there is no name")
		case w.Preset == "":
			err = errors.New("there is no preset: add one, or give --preset")
		case err != nil:
			err = errors.New("the preset is full-access or read-only")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d of %s: %w. No key was created", w.line, nameOf(path), err)
		}
		w.Preset = preset
	}
	return all, nil
}

func readCreateFile(cmd *cobra.Command, path string) ([]byte, error) {
	var in io.Reader
	if path == onStdin {
		var err error
		if in, err = stdin(cmd); err != nil {
			return nil, err
		}
	} else {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	content, err := io.ReadAll(io.LimitReader(in, maxCreateFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxCreateFile {
		return nil, fmt.Errorf("%s is larger than 16 MiB: split it", nameOf(path))
	}
	text, err := apikey.PlainText(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", nameOf(path), err)
	}
	return []byte(text), nil
}

func wantedLines(content []byte) (all []wanted, err error) {
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, maxCreateFile)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		w := wanted{line: n}
		if err := json.Unmarshal(lines.Bytes(), &w, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("line %d is not a JSON object with members of %s%s", n, strings.Join(wantedColumns, ", "), migrate.Flaw(err))
		}
		all = append(all, w)
	}
	return all, lines.Err()
}

var wantedColumns = []string{"workspace_id", "name", "owner", "preset", "expires_in"}

func wantedCSV(content []byte) (all []wanted, err error) {
	in := csv.NewReader(bytes.NewReader(content))
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(header, func(column string) bool { return !slices.Contains(wantedColumns, column) }); i >= 0 {
		return nil, fmt.Errorf("line 1 is not a header: %q is none of %s%s", header[i], strings.Join(wantedColumns, ", "), migrate.Separator(header))
	}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		w := wanted{}
		w.line, _ = in.FieldPos(0)
		for i, column := range header {
			*map[string]*string{"workspace_id": &w.WorkspaceID, "name": &w.Name, "owner": &w.Owner, "preset": &w.Preset, "expires_in": &w.ExpiresIn}[column] = record[i]
		}
		all = append(all, w)
	}
}
