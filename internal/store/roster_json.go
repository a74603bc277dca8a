package store

import (
	"bytes"
	"strconv"
	"strings"
)

// Every key that comes changes a roster and two lists of members. These functions do for
// them what encode does, in a fraction of the time.

func (r *roster) encode() []byte {
	b := strconv.AppendUint([]byte(`{"current":`), uint64(r.Current), 10)
	if r.Expired != 0 {
		b = strconv.AppendInt(append(b, `,"expired":`...), int64(r.Expired), 10)
	}
	if r.Revoked != 0 {
		b = strconv.AppendInt(append(b, `,"revoked":`...), int64(r.Revoked), 10)
	}
	return append(b, '}')
}

func decodeRoster(ws string, value []byte) (r roster, err error) {
	if rest, found := bytes.CutPrefix(value, []byte(`{"current":`)); found && len(rest) > 0 {
		n, err := strconv.ParseUint(string(rest[:len(rest)-1]), 10, 32) // unless it has ended keys too
		if err == nil && rest[len(rest)-1] == '}' {
			return roster{Current: uint32(n)}, nil
		}
	}
	return r, decode(rosterKey(ws), value, &r)
}

func (m member) encode() []byte { return m.append(make([]byte, 0, 128)) }

func encodeMembers(members []member) []byte {
	b := append(make([]byte, 0, 128*len(members)), '[')
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = m.append(b)
	}
	return append(b, ']')
}

func (m member) append(b []byte) []byte {
	b = appendText(append(b, `{"id":`...), m.ID)
	b = strconv.AppendInt(append(b, `,"end":`...), int64(m.End), 10)
	if m.Revoked {
		b = append(b, `,"revoked":true`...)
	}
	return append(appendText(append(b, `,"family":`...), m.Family), '}')
}

// appendText appends a text as JSON, which is quick for the ids of keys.
func appendText(b []byte, s string) []byte {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		encoded, _ := encode(s) // no text fails
		return append(b, encoded...)
	}
	return append(append(append(b, '"'), s...), '"')
}
