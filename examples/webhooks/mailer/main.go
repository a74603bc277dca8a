// Command mailer is an example of a webhook: it mails what happens to keys.
//
// It reads its configuration from the environment: WEBHOOK_SECRET, as the gateway has it;
// SMTP, the address of a mail server on this machine, because the mail is not encrypted;
// MAIL_FROM, MAIL_TO; and LISTEN, the address to listen on, by default 127.0.0.1:8025.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net/http"
	"net/smtp"
	"os"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// message is what the gateway sends, as far as it is used here.
type message struct {
	Type string `json:"type"`
	Data struct {
		WorkspaceID string `json:"workspace_id"`
		Within      string `json:"within"`
		Key         *struct {
			ID        string    `json:"id"`
			Name      string    `json:"name"`
			Owner     string    `json:"owner"`
			ExpiresAt time.Time `json:"expires_at"`
		} `json:"key"`
	} `json:"data"`
}

// mailer mails what it receives.
type mailer struct {
	verifier *standardwebhooks.Webhook
	server   string
	from, to string

	mu   sync.Mutex
	seen map[string]time.Time // the messages that were mailed, by id. Keep them in a database if a second mail would do harm
}

func main() {
	verifier, err := standardwebhooks.NewWebhook(os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		log.Fatal("WEBHOOK_SECRET is not a webhook secret")
	}
	m := &mailer{
		verifier: verifier, server: os.Getenv("SMTP"), from: os.Getenv("MAIL_FROM"), to: os.Getenv("MAIL_TO"),
		seen: make(map[string]time.Time),
	}
	log.Fatal(http.ListenAndServe(cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8025"), m))
}

// ServeHTTP mails a message, and confirms it once the mail server has the mail.
func (m *mailer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil || m.verifier.Verify(body, r.Header) != nil { // over the bytes as they arrived
		http.Error(w, "the signature is wrong", http.StatusUnauthorized)
		return
	}
	var got message
	if err := json.Unmarshal(body, &got); err != nil {
		http.Error(w, "this is no message", http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := r.Header.Get("webhook-id")
	if _, again := m.seen[id]; !again && got.Data.Key != nil {
		if err := m.mail(got); err != nil {
			log.Printf("mailing %s: %v", id, err)
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		m.seen[id] = time.Now()
		m.forget()
	}
	w.WriteHeader(http.StatusNoContent)
}

// mail sends one mail.
func (m *mailer) mail(got message) error {
	key := got.Data.Key
	subject := fmt.Sprintf("%s: %s in %s", got.Type, key.Name, got.Data.WorkspaceID)
	lines := []string{
		"From: " + m.from, "To: " + m.to,
		"Subject: " + mime.QEncoding.Encode("utf-8", subject), // so that no name can add a header
		"Content-Type: text/plain; charset=utf-8", "",
		fmt.Sprintf("The key %q (%s, owner %q) of the workspace %s: %s. Its lifetime ends at %s.", key.Name, key.ID, key.Owner, got.Data.WorkspaceID, got.Type, key.ExpiresAt.Format(time.RFC3339)),
	}
	return m.send(strings.Join(lines, "\r\n") + "\r\n")
}

// send hands a mail to the server. It is not encrypted: the certificate of a mail server on
// this machine is rarely one that anybody trusts.
func (m *mailer) send(mail string) error {
	conn, err := smtp.Dial(m.server)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := errors.Join(conn.Mail(m.from), conn.Rcpt(m.to)); err != nil {
		return err
	}
	data, err := conn.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(data, mail); err != nil {
		return err
	}
	if err := data.Close(); err != nil {
		return err
	}
	return conn.Quit()
}

// forget forgets messages that the gateway does not send any more.
func (m *mailer) forget() {
	for id, at := range m.seen {
		if time.Since(at) > 4*24*time.Hour {
			delete(m.seen, id)
		}
	}
}
