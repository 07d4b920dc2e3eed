package receiver

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"riposte/internal/secret"
)

// secrets are what a sender may prove to have.
type secrets struct {
	keys    [][sha256.Size]byte // hashed, so that comparing tells nothing of their length
	signers []*standardwebhooks.Webhook
}

// tolerance is by how much a signature's timestamp may differ from our clock, as
// Standard Webhooks and its library have it.
const tolerance = 5 * time.Minute

// readSecrets resolves the references. All that is wrong is in the error, and no
// secret is.
func (c Config) readSecrets() (secrets, error) {
	var (
		s    secrets
		errs []error
	)
	for i, ref := range c.Keys {
		key, err := secret.Ref(ref).Read()
		if err == nil && len(key) < minKey {
			err = fmt.Errorf("%s has %d characters: want %d or more, such as `openssl rand -base64 32` makes", ref, len(key), minKey)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("receiver.keys[%d]: %w", i, err))
			continue
		}
		s.keys = append(s.keys, sha256.Sum256([]byte(key)))
	}
	for i, ref := range c.Signatures {
		signer, err := signer(secret.Ref(ref))
		if err != nil {
			errs = append(errs, fmt.Errorf("receiver.signatures[%d]: %w", i, err))
			continue
		}
		s.signers = append(s.signers, signer)
	}
	return s, errors.Join(errs...)
}

func signer(ref secret.Ref) (*standardwebhooks.Webhook, error) {
	text, err := ref.Read()
	if err != nil {
		return nil, err
	}
	// The library takes an empty key, and its errors show what it could not read.
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
	if err != nil {
		return nil, fmt.Errorf("%s is not a Standard Webhooks secret: want whsec_ and base64", ref)
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("%s has %d bytes: want %d or more", ref, len(key), minKey)
	}
	return standardwebhooks.NewWebhookRaw(key)
}

// files are those that secrets are in.
func (c Config) files() (out []string) {
	for _, refs := range [][]string{c.Keys, c.Signatures} {
		for _, ref := range refs {
			if f := secret.Ref(ref).File(); f != "" {
				out = append(out, f)
			}
		}
	}
	return out
}

// Why a request is not answered. It says nothing of the secrets.
var (
	errStranger  = errors.New("not authenticated: send a key, or sign the body")
	errTimestamp = errors.New("the webhook-timestamp differs from the receiver's clock by more than 5 minutes")
)

// known reports whether the header proves a key. The time that it takes does not
// depend on how much of a key is right.
func (s secrets) known(key string) bool {
	sum := sha256.Sum256([]byte(key))
	found := 0
	for _, k := range s.keys {
		found |= subtle.ConstantTimeCompare(k[:], sum[:])
	}
	return found == 1 && key != ""
}

// promises reports whether a request that has no key may turn out to be signed,
// before its body is read.
func (s secrets) promises(h http.Header, now time.Time) error {
	if len(s.signers) == 0 || h.Get(standardwebhooks.HeaderWebhookSignature) == "" || h.Get(standardwebhooks.HeaderWebhookID) == "" {
		return errStranger
	}
	at, err := strconv.ParseInt(h.Get(standardwebhooks.HeaderWebhookTimestamp), 10, 64)
	if err != nil {
		return errStranger
	}
	if d := now.Sub(time.Unix(at, 0)); d > tolerance || d < -tolerance {
		return errTimestamp
	}
	return nil
}

// signed reports whether one of the secrets signed the body.
func (s secrets) signed(body []byte, h http.Header) bool {
	for _, w := range s.signers {
		if w.Verify(body, h) == nil {
			return true
		}
	}
	return false
}
