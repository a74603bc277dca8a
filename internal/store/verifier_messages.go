package store

import (
	"bytes"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func (v *verifier) message(key, value []byte) error {
	m, ok := messageAt(key)
	if !ok || apikey.ValidateWorkspaceID(m.Workspace) != nil {
		v.say("the message %q has an invalid key", key)
		return nil
	}
	if err := m.Decode(bytes.Clone(value)); err != nil {
		v.say("%v", err)
	}
	return nil
}

func (v *verifier) schedule(key, value []byte) error {
	var s schedule
	if err := decode(key, value, &s); err != nil {
		v.say("%v", err)
	}
	return nil
}
