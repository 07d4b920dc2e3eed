package digest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Objects are where the files of a trail are kept.
type Objects interface {
	// List names them all. What is not a file of a trail may be among them.
	List(ctx context.Context) ([]Object, error)
	Opener
}

// Opener reads files that were listed.
type Opener interface {
	// Open reads one, as it is stored; fs.ErrNotExist where it is gone.
	Open(ctx context.Context, o Object) (io.ReadCloser, error)
	// Metadata returns what is stored beside a digest; the zero value where nothing is.
	Metadata(ctx context.Context, o Object) (Metadata, error)
}

// Object is one file.
type Object struct {
	// Name is what a person finds the file by: its path, or s3://bucket/key.
	Name string
	// Bucket and Key are where CloudTrail put it. A mirror knows no bucket, and
	// of the key only its end.
	Bucket, Key string
	Size        int64
	// Written is when it was put there, where that is known.
	Written time.Time
}

// Metadata is what CloudTrail stores beside a digest file, as metadata of the object.
type Metadata struct {
	Signature string // lower-case hex
	Algorithm string
	Generated string // when a backfill digest was made
	Name      string // the file it is from, "" for the object itself
}

// sidecar is the ending of the file beside a digest that holds its metadata.
const sidecar = ".sig"

// Folder is a mirror of a trail's bucket, as `aws s3 sync` makes it. A plain copy
// has lost the metadata: it is read from the file named like the digest with .sig
// after it, which holds the metadata as JSON or just the signature.
type Folder struct{ Paths []string }

// List walks the folders; links are not followed. A path that does not exist is an error.
func (f Folder) List(ctx context.Context) ([]Object, error) {
	var out []Object
	seen := map[string]bool{}
	for _, root := range f.Paths {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			case !d.Type().IsRegular():
				return nil
			}
			full, err := filepath.Abs(name)
			if err != nil || seen[full] {
				return err
			}
			seen[full] = true
			info, err := d.Info()
			if err != nil {
				return err
			}
			out = append(out, Object{Name: name, Key: filepath.ToSlash(full), Size: info.Size()})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("walk %s: %w", root, err)
		}
	}
	return out, nil
}

// Open opens the file.
func (f Folder) Open(_ context.Context, o Object) (io.ReadCloser, error) { return os.Open(o.Name) }

// maxSidecar is more than any metadata is long.
const maxSidecar = 64 << 10

// Metadata reads the file beside a digest.
func (f Folder) Metadata(_ context.Context, o Object) (Metadata, error) {
	name := o.Name + sidecar
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Metadata{}, nil
	}
	if err != nil {
		return Metadata{Name: name}, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSidecar+1))
	if err != nil {
		return Metadata{Name: name}, err
	}
	m, err := parseSidecar(content)
	m.Name = name
	return m, err
}

// errSidecar says that what stands beside a digest is not its metadata.
var errSidecar = errors.New("not the metadata of a digest")

// parseSidecar reads `aws s3api head-object`'s Metadata, its whole answer, or a
// bare signature.
func parseSidecar(content []byte) (Metadata, error) {
	if len(content) > maxSidecar {
		return Metadata{}, fmt.Errorf("%w: longer than %d bytes", errSidecar, maxSidecar)
	}
	content = bytes.TrimSpace(content)
	m := Metadata{Signature: string(content), Algorithm: signatureAlgorithm}
	if len(content) > 0 && content[0] == '{' {
		type fields struct {
			Signature string `json:"signature"`
			Algorithm string `json:"signature-algorithm"`
			Generated string `json:"backfill-generation-timestamp"`
		}
		var w struct {
			fields
			Metadata *fields
		}
		if err := json.Unmarshal(content, &w); err != nil {
			return Metadata{}, fmt.Errorf("%w: %w", errSidecar, err)
		}
		if w.Metadata != nil {
			w.fields = *w.Metadata
		}
		m = Metadata{Signature: w.Signature, Algorithm: w.Algorithm, Generated: w.Generated}
	}
	return m.checked()
}

// checked is m, if it is a signature.
func (m Metadata) checked() (Metadata, error) {
	switch {
	case m.Algorithm != signatureAlgorithm:
		return Metadata{}, fmt.Errorf("%w: signature-algorithm is %.40q, want %s", errSidecar, m.Algorithm, signatureAlgorithm)
	case m.Signature == "" || !isHex(m.Signature):
		return Metadata{}, fmt.Errorf("%w: signature %.40q is not hex", errSidecar, m.Signature)
	}
	return m, nil
}

// notGzip trims what the gzip reader says to what a person needs.
func notGzip(err error) string {
	return "is not readable as gzip: " + strings.TrimPrefix(err.Error(), "gzip: ")
}
