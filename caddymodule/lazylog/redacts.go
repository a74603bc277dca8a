package lazylog

import (
	"net/http"
	"reflect"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Redacts reports whether logs write no value of a request header, in whatever spelling,
// in entries of a level: because they have the format lazy, to which [Redact] has named the
// header, because another format removes all headers of requests, or because they write no
// such entries. core is what the entries of one log go to, or of several. Nothing is
// written.
func Redacts(core zapcore.Core, level zapcore.Level, header string) bool {
	for _, leaf := range leaves(core) {
		if leaf.Enabled(level) && !redacts(leaf, header) {
			return false
		}
	}
	return true
}

// leaves returns what a core consists of. A core that wraps another one embeds it.
func leaves(core zapcore.Core) (found []zapcore.Core) {
	value := reflect.ValueOf(core)
	if value.Kind() == reflect.Slice { // of zapcore.NewTee
		for i := range value.Len() {
			found = append(found, leaves(value.Index(i).Interface().(zapcore.Core))...)
		}
		return found
	}
	if value.Kind() == reflect.Pointer && value.Elem().Kind() == reflect.Struct {
		if field, ok := value.Elem().Type().FieldByName("Core"); ok && field.Anonymous && field.Type == reflect.TypeFor[zapcore.Core]() {
			return leaves(value.Elem().FieldByIndex(field.Index).Interface().(zapcore.Core))
		}
	}
	return []zapcore.Core{core}
}

// redacts has a core encode a request, as it does before it writes one, and sees what of it
// the core asks for. A core that asks for nothing yet may do so later.
func redacts(core zapcore.Core, header string) bool {
	p := &probe{names: spellings(http.CanonicalHeaderKey(header))}
	core.With([]zapcore.Field{zap.Object("request", p), zap.Object("api_keys_probe", asked{&p.encodes})})
	set := secrets.set.Load()
	return p.lazy && set != nil && set.Match(header) || p.encodes && !p.leaks
}

// spellings returns a header's name, and some of the names that an upstream could take for
// it: so many are possible that no format lists them all.
func spellings(name string) []string {
	names := []string{name}
	for _, hyphen := range []string{"_", ".", "~", "!"} {
		names = append(names, strings.ReplaceAll(name, "-", hyphen), strings.Replace(name, "-", hyphen, 1))
	}
	for i := range names {
		names[i] = http.CanonicalHeaderKey(names[i])
	}
	return names
}

// probe stands for a request that is logged.
type probe struct {
	names   []string // of the header
	lazy    bool     // the format is lazy, which formats it when it is written
	encodes bool     // fields are formatted immediately
	leaks   bool     // a value of the header would be written
}

// MarshalLogObject implements zapcore.ObjectMarshaler, like caddyhttp.LoggableHTTPRequest.
func (p *probe) MarshalLogObject(to zapcore.ObjectEncoder) error {
	return to.AddObject("headers", probedHeader{p})
}

type probedHeader struct{ *probe }

// MarshalLogObject implements zapcore.ObjectMarshaler, like caddyhttp.LoggableHTTPHeader.
func (p probedHeader) MarshalLogObject(to zapcore.ObjectEncoder) error {
	for _, name := range p.names {
		if err := to.AddArray(name, askedArray{&p.leaks}); err != nil {
			return err
		}
	}
	return nil
}

// asked is set when somebody asks for its contents.
type asked struct{ yes *bool }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (a asked) MarshalLogObject(zapcore.ObjectEncoder) error {
	*a.yes = true
	return nil
}

type askedArray asked

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (a askedArray) MarshalLogArray(zapcore.ArrayEncoder) error {
	*a.yes = true
	return nil
}
