package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// describe writes the manual pages and the completions, which the program for this
// machine prints.
func (r *release) describe(ctx context.Context) error {
	if !slices.Contains(r.platforms, host) {
		if err := r.compile(ctx, host); err != nil {
			return err
		}
	}
	program, err := filepath.Abs(r.program(host))
	if err != nil {
		return err
	}
	if err := r.manual(ctx, program); err != nil {
		return err
	}
	return r.completions(ctx, program)
}

// manual writes the pages of the command api-keys. Those of Caddy's own commands would
// have the names of the pages in Debian's package of Caddy.
func (r *release) manual(ctx context.Context, program string) error {
	dir := filepath.Join(stage, "man")
	if _, err := r.run(ctx, nil, program, "manpage", "--directory", dir); err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.8"))
	if err != nil {
		return err
	}
	for _, path := range pages {
		if strings.HasPrefix(filepath.Base(path), name) {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(path+".gz", compressed(content), 0o644); err != nil {
				return err
			}
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// compressed returns a text as gzip -9n compresses it.
func compressed(content []byte) []byte {
	var to bytes.Buffer
	w, err := gzip.NewWriterLevel(&to, gzip.BestCompression)
	if err != nil {
		panic(err) // the level exists
	}
	_, _ = w.Write(content) // a buffer takes everything
	_ = w.Close()
	return to.Bytes()
}

// completionFiles are the names of the completions where shells look for them.
var completionFiles = map[string]string{"bash": name, "zsh": "_" + name, "fish": name + ".fish"}

// completions writes the completions for the shells, of both names of the program.
func (r *release) completions(ctx context.Context, program string) error {
	for shell, file := range completionFiles {
		script, err := r.run(ctx, nil, program, "completion", shell)
		if err != nil {
			return err
		}
		both, err := ofBothNames(shell, string(script))
		if err != nil {
			return err
		}
		path := filepath.Join(stage, "completions", shell, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(both), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ofBothNames returns the completion of caddy as one of caddy and caddy-api-keys.
func ofBothNames(shell, script string) (string, error) {
	var ends string
	switch shell {
	case "bash":
		ends = "-F __start_caddy caddy\n"
	case "zsh":
		ends = "compdef _caddy caddy\n"
		script = strings.Replace(script, "#compdef caddy\n", "#compdef caddy "+name+"\n", 1)
	case "fish":
		return script + "complete -c " + name + " --wraps caddy\n", nil
	}
	if !strings.Contains(script, ends) {
		return "", fmt.Errorf("the completion for %s has no %q", shell, ends)
	}
	return strings.ReplaceAll(script, ends, strings.TrimSuffix(ends, "\n")+" "+name+"\n"), nil
}
