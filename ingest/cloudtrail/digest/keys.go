package digest

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Keys are the public keys that CloudTrail signs with.
type Keys interface {
	// Keys returns the keys of a region that were in use between two times.
	Keys(ctx context.Context, region string, from, to time.Time) ([]Key, error)
}

// Key is one public key. Fingerprint is "" where it is not known: such a key is
// tried on every digest whose fingerprint no other key has.
type Key struct {
	Fingerprint string
	Public      *rsa.PublicKey
}

// FixedKeys are keys that somebody has saved; they serve every region.
type FixedKeys []Key

// Keys returns all of them.
func (k FixedKeys) Keys(context.Context, string, time.Time, time.Time) ([]Key, error) { return k, nil }

// ReadKeys reads public keys from the content of a file: the JSON that
// `aws cloudtrail list-public-keys` prints, PEM blocks, or one key in DER.
func ReadKeys(content []byte) ([]Key, error) {
	if block, rest := pem.Decode(content); block != nil {
		var keys []Key
		for ; block != nil; block, rest = pem.Decode(rest) {
			public, err := parsePublic(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("PEM block %d: %w", len(keys)+1, err)
			}
			keys = append(keys, Key{Public: public})
		}
		return keys, nil
	}
	if json.Valid(content) {
		return readKeyList(content)
	}
	public, err := parsePublic(content)
	if err != nil {
		return nil, fmt.Errorf("want the JSON of aws cloudtrail list-public-keys, PEM or DER: %w", err)
	}
	return []Key{{Public: public}}, nil
}

func readKeyList(content []byte) ([]Key, error) {
	var list struct {
		PublicKeyList []struct{ Value, Fingerprint string }
	}
	if err := json.Unmarshal(content, &list); err != nil {
		return nil, fmt.Errorf("want the JSON of aws cloudtrail list-public-keys: %w", err)
	}
	if len(list.PublicKeyList) == 0 {
		return nil, errors.New("PublicKeyList is missing or empty: was the time range of list-public-keys right?")
	}
	var keys []Key
	for i, k := range list.PublicKeyList {
		der, err := base64.StdEncoding.DecodeString(k.Value)
		if err != nil {
			return nil, fmt.Errorf("PublicKeyList[%d].Value: %w", i, err)
		}
		public, err := parsePublic(der)
		if err != nil {
			return nil, fmt.Errorf("PublicKeyList[%d].Value: %w", i, err)
		}
		keys = append(keys, Key{Fingerprint: k.Fingerprint, Public: public})
	}
	return keys, nil
}

// parsePublic reads PKCS#1, as CloudTrail sends it, or SubjectPublicKeyInfo, as
// other tools save it.
func parsePublic(der []byte) (*rsa.PublicKey, error) {
	if k, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("not an RSA public key in PKCS#1 or SubjectPublicKeyInfo")
	}
	public, ok := k.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("a %T: CloudTrail signs with RSA", k)
	}
	return public, nil
}

// choose returns the keys that a digest may have been signed with.
func choose(keys []Key, fingerprint string) []*rsa.PublicKey {
	var named, nameless []*rsa.PublicKey
	for _, k := range keys {
		switch k.Fingerprint {
		case fingerprint:
			named = append(named, k.Public)
		case "":
			nameless = append(nameless, k.Public)
		}
	}
	if len(named) > 0 {
		return named
	}
	return nameless
}

// signedBy reports whether signature, in hex, is that of d by one of the keys.
func signedBy(d *Digest, keys []*rsa.PublicKey, signature string) bool {
	raw, err := hex.DecodeString(signature)
	if err != nil {
		return false
	}
	digest := sha256.Sum256([]byte(d.StringToSign()))
	for _, k := range keys {
		if rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], raw) == nil {
			return true
		}
	}
	return false
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
