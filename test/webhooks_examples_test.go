package test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// The examples of docs/events.md mail what happens to a key, whose name may be anything.
func TestWebhooks_examples(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(*testing.T) *exec.Cmd{"Go": goMailer, "Node": nodeMailer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mails := newMailServer(t)
			listen, secret := gatewaytest.Address(t), hookSecret(t.Name())
			mailer := build(t)
			mailer.Env = append(os.Environ(), "WEBHOOK_SECRET="+secret, "SMTP="+mails.address, "MAIL_FROM=keys@example.com", "MAIL_TO=ops@example.com", "LISTEN="+listen)
			mailer.Stdout, mailer.Stderr = t.Output(), t.Output()
			must(t, mailer.Start())
			t.Cleanup(func() {
				_ = mailer.Process.Kill()
				_ = mailer.Wait()
			})
			s := start(t, withWebhooks("webhook http://"+listen+"/ {\n\t\t\tsecret {env.HOOK_SECRET}\n\t\t}"), "HOOK_SECRET="+secret)
			s.Await("the example to listen", func() bool {
				tests, err := s.Keys().TestWebhooks(t.Context())
				return err == nil && tests[0].Received
			})
			key, _ := s.Create("acme", "Zapier – production", "read_only")
			s.Revoke(key)
			for _, kind := range []string{"key.created", "key.revoked"} {
				mail := <-mails.received
				if !strings.Contains(mail, "To: ops@example.com\r\n") || !strings.Contains(mail, "Subject: =?") || !strings.Contains(mail, key.ID) {
					t.Errorf("got the mail %q, want one about %s of %s", mail, kind, key.ID)
				}
			}
			s.wantPending(0)
		})
	}
}

func goMailer(t *testing.T) *exec.Cmd {
	program := filepath.Join(t.TempDir(), "mailer")
	build := exec.Command("go", "build", "-pgo=off", "-o", program, "../examples/webhooks/mailer")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return exec.Command(program)
}

// nodeMailer returns the example with the packages that it needs next to it.
func nodeMailer(t *testing.T) *exec.Cmd {
	node := testenv.Tool(t, "node")
	modules := filepath.Dir(testenv.NPM(t, "nodemailer"))
	script, err := os.ReadFile("../examples/webhooks/mailer.mjs")
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "mailer.mjs"), script, 0o600))
	must(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	return exec.Command(node, filepath.Join(dir, "mailer.mjs"))
}

// mailServer takes every mail. Like the mail servers of many machines, it offers encryption,
// with a certificate that nobody trusts.
type mailServer struct {
	address  string
	received chan string
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	m := &mailServer{listener.Addr().String(), make(chan string, 10)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return m
}

// serve speaks as much SMTP as it takes to receive mail.
func (m *mailServer) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	say := func(line string) { _, _ = fmt.Fprint(conn, line+"\r\n") }
	say("220 localhost ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch command, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); command {
		case "DATA":
			say("354 go ahead")
			var mail strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				mail.WriteString(line)
			}
			m.received <- mail.String()
			say("250 taken")
		case "EHLO":
			say("250-localhost")
			say("250 STARTTLS")
		case "STARTTLS":
			say("220 go ahead")
			conn.Write([]byte("no TLS"))
			return
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}
