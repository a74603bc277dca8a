package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// kongFile is the part of decK's declarative configuration that has to do with keys:
// https://developer.konghq.com/deck/reference/entities/ and
// https://developer.konghq.com/plugins/key-auth/
type kongFile struct {
	Version   yaml.Node   `yaml:"_format_version"`
	Consumers []yaml.Node `yaml:"consumers"`
	// Credentials are where consumers refer to them, as `kong config db_export` writes it.
	Credentials []yaml.Node `yaml:"keyauth_credentials"`
}

type kongConsumer struct {
	ID          string      `yaml:"id"`
	Username    string      `yaml:"username"`
	CustomID    string      `yaml:"custom_id"`
	Tags        []string    `yaml:"tags"`
	Credentials []yaml.Node `yaml:"keyauth_credentials"`
	Plugins     []yaml.Node `yaml:"plugins"`
	Groups      []yaml.Node `yaml:"groups"`
	ACLs        []yaml.Node `yaml:"acls"`
	JWT         []yaml.Node `yaml:"jwt_secrets"`
	Basic       []yaml.Node `yaml:"basicauth_credentials"`
	HMAC        []yaml.Node `yaml:"hmacauth_credentials"`
	OAuth2      []yaml.Node `yaml:"oauth2_credentials"`
	MTLS        []yaml.Node `yaml:"mtls_auth_credentials"`
}

type kongCredential struct {
	Key       string    `yaml:"key"`
	Tags      []string  `yaml:"tags"`
	TTL       int64     `yaml:"ttl"`        // seconds that are left
	CreatedAt float64   `yaml:"created_at"` // seconds since 1970
	Consumer  yaml.Node `yaml:"consumer"`   // a name, or an object with one
}

// kong reads decK's YAML. It has to be in memory as a whole.
func (s *source) kong(yield func(Entry) bool) error {
	s.in.left, s.in.spent = maxTotal, errTooLarge
	text, err := io.ReadAll(s.in)
	if err != nil {
		return err
	}
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil
	}
	var file kongFile
	documents := yaml.NewDecoder(bytes.NewReader(text))
	if err := documents.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return kongError(err)
	}
	if err := documents.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("it is several YAML documents, with --- between them: import each from a file of its own")
	}
	if file.Version.IsZero() && len(file.Consumers)+len(file.Credentials) == 0 {
		return errors.New("it has neither a _format_version nor consumers: is this the output of deck gateway dump?")
	}
	known := make(map[string]kongConsumer)
	for _, node := range file.Consumers {
		var consumer kongConsumer
		if node.Decode(&consumer) != nil {
			if !yield(Entry{Line: node.Line, Err: notKong("consumer")}) {
				return nil
			}
			continue
		}
		for _, name := range []string{consumer.CustomID, consumer.Username, consumer.ID} { // the id is the surest
			if name != "" {
				known[name] = consumer
			}
		}
		for _, credential := range consumer.Credentials {
			if !yield(s.kongKey(credential, &consumer, nil)) {
				return nil
			}
		}
	}
	for _, credential := range file.Credentials {
		if !yield(s.kongKey(credential, nil, known)) {
			return nil
		}
	}
	return nil
}

// kongKey returns the key of a credential, of a consumer or of the one that it refers to.
func (s *source) kongKey(node yaml.Node, of *kongConsumer, known map[string]kongConsumer) Entry {
	entry := Entry{Line: node.Line}
	var credential kongCredential
	if node.Decode(&credential) != nil {
		entry.Err = notKong("credential")
		return entry
	}
	if of == nil {
		consumer, ok := known[reference(credential.Consumer)]
		if !ok {
			entry.Err = refuse(client.CodeInvalidWorkspace, "consumer", "The consumer of this credential is not in the file: dump consumers and credentials together.")
			return entry
		}
		of = &consumer
	}
	switch {
	case credential.Key == "":
		entry.Err = refuse("invalid_token", "key", "The credential has no key.")
		return entry
	case kongReference.MatchString(credential.Key):
		entry.Err = refuse("invalid_token", "key", "The file refers to a key that is stored elsewhere: dump the running Kong with deck gateway dump, or put the key here.")
		return entry
	}
	entry.Key.WorkspaceID, entry.Key.Name = of.CustomID, of.Username
	if entry.Key.WorkspaceID == "" {
		entry.Key.WorkspaceID = of.Username
	}
	if credential.CreatedAt > 0 {
		entry.Key.CreatedAt = time.UnixMilli(int64(credential.CreatedAt * 1000)).UTC()
	}
	if credential.TTL > 0 {
		entry.Key.ExpiresAt = s.options.Written.Add(time.Duration(credential.TTL) * time.Second).UTC().Truncate(time.Second)
	}
	entry.Lost = of.lost(credential)
	entry.Err = entry.hash(credential.Key, s.options)
	return entry
}

// kongReference is what stands for a key that is kept elsewhere: decK's environment, and
// a vault of Kong's.
var kongReference = regexp.MustCompile(`\$\{\{|^\{vault://`)

// reference returns the name of a consumer that a credential refers to.
func reference(node yaml.Node) string {
	var name string
	if node.Decode(&name) == nil && name != "" {
		return name
	}
	var consumer kongConsumer
	_ = node.Decode(&consumer)
	for _, name := range []string{consumer.ID, consumer.Username, consumer.CustomID} {
		if name != "" {
			return name
		}
	}
	return ""
}

// lost says what the gateway does not keep of a credential and its consumer.
func (c *kongConsumer) lost(credential kongCredential) (lost []string) {
	if len(c.Tags)+len(credential.Tags) > 0 {
		lost = append(lost, "tags")
	}
	if len(c.Plugins) > 0 {
		lost = append(lost, "plugins")
	}
	if len(c.Groups)+len(c.ACLs) > 0 {
		lost = append(lost, "groups")
	}
	if len(c.JWT)+len(c.Basic)+len(c.HMAC)+len(c.OAuth2)+len(c.MTLS) > 0 {
		lost = append(lost, "other credentials")
	}
	return lost
}

func notKong(what string) *client.Error {
	return refuse("invalid_export", "", "This is not a "+what+" as decK writes it.")
}

// yamlLine finds the line in an error of the YAML parser, whose text may have a token.
var yamlLine = regexp.MustCompile(`line (\d+)`)

func kongError(err error) error {
	if line := yamlLine.FindStringSubmatch(err.Error()); line != nil {
		return fmt.Errorf("line %s is not as decK writes it: is this the output of deck gateway dump?", line[1])
	}
	return errors.New("it is not YAML: is this the output of deck gateway dump?")
}

// maxTotal bounds an export that has to be in memory as a whole.
const maxTotal = 256 << 20

var errTooLarge = errors.New("it is larger than 256 MiB: dump a part at a time, by tags, with deck gateway dump --select-tag")
