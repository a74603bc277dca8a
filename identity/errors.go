package identity

import "errors"

// Errors of [Verifier.Verify]. They say why, and contain nothing of the assertion.
var (
	// ErrRefused means that the assertion proves nothing: it is missing, not the
	// gateway's, not for this upstream, not for now or not for this request.
	ErrRefused = errors.New("identity: assertion refused")
	// ErrUnavailable means that the gateway's keys cannot be fetched, so that nobody
	// can tell.
	ErrUnavailable = errors.New("identity: no signing keys of the gateway")
)

// A refusal is why an assertion is refused. Other implementations, and the cases in
// testdata, use the same words.
type refusal string

const (
	errMissing   refusal = "there is no assertion"
	errRepeated  refusal = "there is more than one assertion"
	errTooLong   refusal = "it is too long"
	errEncoding  refusal = "it is not a compact JWS"
	errHeader    refusal = "its header is not that of an assertion"
	errKey       refusal = "its key is unknown"
	errSignature refusal = "its signature is wrong"
	errClaims    refusal = "its claims are not those of an assertion"
	errIssuer    refusal = "it has another issuer"
	errAudience  refusal = "it is for another audience"
	errLifetime  refusal = "it is valid for too long"
	errExpired   refusal = "it has expired"
	errFuture    refusal = "it is from the future"
	errUnbound   refusal = "it is not bound to a request"
	errRequest   refusal = "it is for another request"
	errHeaders   refusal = "the identity headers say otherwise"
)

func (r refusal) Error() string { return ErrRefused.Error() + ": " + string(r) }

// Is reports that every refusal is an ErrRefused.
func (r refusal) Is(target error) bool { return target == ErrRefused }
