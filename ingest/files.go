package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"riposte/event"
)

// Files are telemetry in files and folders.
type Files struct {
	// Paths are files and folders; folders are walked in lexical order, names
	// that begin with a dot left out. "-" is Stdin.
	Paths []string
	Stdin io.Reader
	// FlowFormat names the columns of flow logs without a header; nil has them guessed.
	FlowFormat *event.FlowFormat
	// Log is the mapping of the log whose JSON records they hold; nil recognises
	// AWS's telemetry.
	Log *event.Mapping
}

// FileRef is one file of Files.
type FileRef struct {
	Path string
	Size int64
	// Named is whether a path names the file itself, rather than a folder above it.
	Named bool
}

// List finds the files. A path that does not exist is an error.
func (f Files) List(ctx context.Context) ([]FileRef, error) {
	var out []FileRef
	for _, p := range f.Paths {
		if p == "-" {
			out = append(out, FileRef{Path: p, Named: true})
			continue
		}
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, errors.Unwrap(err))
		}
		if !info.IsDir() {
			out = append(out, FileRef{Path: p, Size: info.Size(), Named: true})
			continue
		}
		err = filepath.WalkDir(p, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if strings.HasPrefix(d.Name(), ".") && name != p {
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if d.IsDir() {
				return nil
			}
			info, err := os.Stat(name) // through links
			if err != nil || !info.Mode().IsRegular() {
				return nil
			}
			out = append(out, FileRef{Path: name, Size: info.Size()})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("walk %s: %w", p, err)
		}
	}
	return out, nil
}

// ReadFile delivers the records of one file.
func (r *Reader) ReadFile(ctx context.Context, f Files, ref FileRef, sink Sink) (Stats, error) {
	return r.readFile(ctx, f, ref, 0, sink)
}

func (r *Reader) readFile(ctx context.Context, f Files, ref FileRef, skip int64, sink Sink) (Stats, error) {
	if ref.Path == "-" {
		// Standard input cannot be read again: its batches are new each time.
		o := Object{Source: "stdin", Name: "-", Identity: event.Hash("stdin", fmt.Sprint(os.Getpid()), fmt.Sprint(nowNano())), Live: true, FlowFormat: f.FlowFormat, Log: f.Log}
		return r.Read(ctx, o, f.Stdin, sink)
	}
	file, err := os.Open(ref.Path)
	if err != nil {
		return Stats{}, err
	}
	defer file.Close()
	identity, err := fileIdentity(file, ref)
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", ref.Path, err)
	}
	o := Object{Source: "files", Name: ref.Path, Identity: identity, Skip: skip, Delivered: deliveredBy(ref.Path), FlowFormat: f.FlowFormat, Log: f.Log}
	return r.Read(ctx, o, file, sink)
}

// fileIdentity names a file by its path, size and first 64 KiB, so that the same
// file is the same after a restart and a rewritten one is another.
func fileIdentity(file *os.File, ref FileRef) (string, error) {
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.CopyN(h, file, 64<<10); err != nil && err != io.EOF {
		return "", err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	path, err := filepath.Abs(ref.Path)
	if err != nil {
		return "", err
	}
	return event.Hash("file", path, fmt.Sprint(info.Size()), hex.EncodeToString(h.Sum(nil))), nil
}
