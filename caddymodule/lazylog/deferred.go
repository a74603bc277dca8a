package lazylog

import (
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// deferred is an encoder that stores fields unencoded, until another encoder
// formats them together with those of an entry.
type deferred struct {
	encoder zapcore.Encoder
	fields  []zapcore.Field
}

// Clone returns a copy that takes further fields of its own.
func (d *deferred) Clone() zapcore.Encoder {
	return &deferred{d.encoder, slices.Clip(d.fields)}
}

// EncodeEntry encodes the stored fields and those of an entry. It is safe for
// concurrent use.
func (d *deferred) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	all := slices.Concat(d.fields, fields)
	redact(all)
	return d.encoder.EncodeEntry(entry, all)
}

func (d *deferred) add(field zapcore.Field) { d.fields = append(d.fields, field) }

// The methods below implement zapcore.ObjectEncoder.

func (d *deferred) OpenNamespace(k string)                { d.add(zap.Namespace(k)) }
func (d *deferred) AddBinary(k string, v []byte)          { d.add(zap.Binary(k, slices.Clone(v))) }
func (d *deferred) AddByteString(k string, v []byte)      { d.add(zap.ByteString(k, slices.Clone(v))) }
func (d *deferred) AddBool(k string, v bool)              { d.add(zap.Bool(k, v)) }
func (d *deferred) AddComplex128(k string, v complex128)  { d.add(zap.Complex128(k, v)) }
func (d *deferred) AddComplex64(k string, v complex64)    { d.add(zap.Complex64(k, v)) }
func (d *deferred) AddDuration(k string, v time.Duration) { d.add(zap.Duration(k, v)) }
func (d *deferred) AddFloat64(k string, v float64)        { d.add(zap.Float64(k, v)) }
func (d *deferred) AddFloat32(k string, v float32)        { d.add(zap.Float32(k, v)) }
func (d *deferred) AddInt(k string, v int)                { d.add(zap.Int(k, v)) }
func (d *deferred) AddInt64(k string, v int64)            { d.add(zap.Int64(k, v)) }
func (d *deferred) AddInt32(k string, v int32)            { d.add(zap.Int32(k, v)) }
func (d *deferred) AddInt16(k string, v int16)            { d.add(zap.Int16(k, v)) }
func (d *deferred) AddInt8(k string, v int8)              { d.add(zap.Int8(k, v)) }
func (d *deferred) AddString(k string, v string)          { d.add(zap.String(k, v)) }
func (d *deferred) AddTime(k string, v time.Time)         { d.add(zap.Time(k, v)) }
func (d *deferred) AddUint(k string, v uint)              { d.add(zap.Uint(k, v)) }
func (d *deferred) AddUint64(k string, v uint64)          { d.add(zap.Uint64(k, v)) }
func (d *deferred) AddUint32(k string, v uint32)          { d.add(zap.Uint32(k, v)) }
func (d *deferred) AddUint16(k string, v uint16)          { d.add(zap.Uint16(k, v)) }
func (d *deferred) AddUint8(k string, v uint8)            { d.add(zap.Uint8(k, v)) }
func (d *deferred) AddUintptr(k string, v uintptr)        { d.add(zap.Uintptr(k, v)) }

func (d *deferred) AddArray(k string, v zapcore.ArrayMarshaler) error {
	d.add(zap.Array(k, v))
	return nil
}

func (d *deferred) AddObject(k string, v zapcore.ObjectMarshaler) error {
	if p, ok := v.(*probe); ok {
		p.lazy = true
		return nil
	}
	d.add(zap.Object(k, v))
	return nil
}

func (d *deferred) AddReflected(k string, v any) error {
	d.add(zap.Reflect(k, v))
	return nil
}
