package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/agiled/caddy-api-keys/bench/markdown"
)

// etcd is a cluster of etcd on this machine, which syncs its changes to the disk as in
// production.
type etcd struct {
	members   []*exec.Cmd
	endpoints []string
	version   string
}

func startEtcd(ctx context.Context, dir string, members int) (*etcd, error) {
	fmt.Fprintln(os.Stderr, "building etcd")
	program := markdown.Said("env", "CGO_ENABLED=0", "go", "-C", "../test/etcd", "tool", "-n", "server")
	e := &etcd{version: strings.TrimPrefix(markdown.Said(program, "--version"), "etcd Version: ")}
	var peers, initial []string
	for i := range members {
		client, err := freeAddress()
		if err != nil {
			return nil, err
		}
		peer, err := freeAddress()
		if err != nil {
			return nil, err
		}
		e.endpoints, peers = append(e.endpoints, "http://"+client), append(peers, "http://"+peer)
		initial = append(initial, fmt.Sprintf("m%d=%s", i, peers[i]))
	}
	for i := range members {
		name := fmt.Sprintf("m%d", i)
		cmd := exec.CommandContext(ctx, program, "--name", name, "--data-dir", filepath.Join(dir, "etcd", name),
			"--listen-client-urls", e.endpoints[i], "--advertise-client-urls", e.endpoints[i],
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
			"--initial-cluster", strings.Join(initial, ","), "--quota-backend-bytes", "8589934592",
			"--auto-compaction-mode=periodic", "--auto-compaction-retention=1h")
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		if err := cmd.Start(); err != nil {
			e.stop()
			return nil, err
		}
		e.members = append(e.members, cmd)
	}
	for deadline := time.Now().Add(30 * time.Second); !e.healthy(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			e.stop()
			return nil, errors.New("etcd did not become healthy within 30 s")
		}
	}
	return e, nil
}

func (e *etcd) healthy() bool {
	for _, endpoint := range e.endpoints {
		response, err := http.Get(endpoint + "/health")
		if err != nil {
			return false
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return false
		}
	}
	return true
}

func (e *etcd) stop() {
	for _, member := range e.members {
		_ = member.Process.Signal(syscall.SIGTERM)
	}
	for _, member := range e.members {
		_ = member.Wait()
	}
}

// freeAddress returns an address on which nothing is listening now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
