package durable

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

const (
	roleHold        = "hold"        // opens the database, prints testenv.Opened, and holds it until its input ends
	roleReport      = "report"      // opens the database, and prints a hash of its contents or the error
	roleFill        = "fill"        // fills the database, with one snapshot of the journal
	roleDescriptors = "descriptors" // changes the database while it may open no file
	roleSnapshot    = "snapshot"    // fills the database, with one snapshot of the journal after another
)

// inRole has what only some operating systems can do, by role.
var inRole = make(map[string]func(*DB) error)

// child is what this test binary does as a second process, in one of the roles
// above. It returns the exit status.
func child(role, path string) int {
	if role == roleReport {
		if err := reportOn(path); err != nil {
			fmt.Println("failed:", err)
			return 1
		}
		return 0
	}
	db, err := openAt(path)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(testenv.Opened)
	switch role {
	case roleHold:
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		err = db.Close()
	case roleDescriptors:
		err = errors.Join(inRole[role](db), db.Close())
	case roleFill:
		err = fillUp(db)
	case roleSnapshot:
		go func() {
			for {
				_ = db.Snapshot(context.Background())
			}
		}()
		for err == nil {
			err = change(db, start, manyRecords)
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// manyRecords makes records of 40 KB in all: few long ones, so that a store that they
// have filled is read quickly.
func manyRecords(txn *Txn) (err error) {
	for range 10 {
		err = errors.Join(err, longRecord(newID(), active, 4000)(txn))
	}
	return err
}

// reportOn opens a database, and prints a hash of its contents or the error.
func reportOn(path string) error {
	db, err := openAt(path)
	if err != nil {
		fmt.Println("refused:", err)
		return nil
	}
	sum, err := acknowledgedIn(db)
	fmt.Println("opened:", sum)
	return errors.Join(err, db.Close())
}

// reportOf returns what roleReport prints about a database.
func reportOf(t *testing.T, path string) string {
	t.Helper()
	return reportAs(t, roleReport, path)
}

// reportAs returns what a child in a role prints.
func reportAs(t *testing.T, role, path string) string {
	t.Helper()
	cmd := testenv.ChildCommand(t.Context(), t, role, path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Sprintf("died: %v\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}
