package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"riposte/internal/rulegen"
	"riposte/internal/traffic"
	shipped "riposte/rules"
)

const seed = 1

// ordinaryDay is the share of changes in a day's traffic: most calls read. As in
// the samples it is traffic.AsRecorded, which has seven times as many findings.
const ordinaryDay = 0.1

// corpus is a folder of gzip files of generated CloudTrail.
type corpus struct {
	dir     string
	Size    int64   `json:"size"` // asked for
	Share   float64 `json:"share"`
	Seed    uint64  `json:"seed"`
	Records int64   `json:"records"`
}

// makeCorpus returns the corpus of that size, made once.
func (b *bench) makeCorpus(ctx context.Context, name string, size int64, share float64) (*corpus, error) {
	dir := filepath.Join(b.dir, name)
	stamp := filepath.Join(b.dir, name+".json")
	want := corpus{dir: dir, Size: size, Share: share, Seed: seed}
	if data, err := os.ReadFile(stamp); err == nil {
		got := corpus{dir: dir}
		if json.Unmarshal(data, &got) == nil && got.Size == size && got.Share == share && got.Seed == seed {
			return &got, nil
		}
	}
	fmt.Fprintf(b.progress, "making %s of %d MB ...\n", dir, size/1e6)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	var err error
	if want.Records, err = traffic.Corpus(ctx, dir, size, seed, share, 2); err != nil {
		return nil, fmt.Errorf("make the corpus: %w", err)
	}
	data, err := json.Marshal(want)
	if err != nil {
		return nil, err
	}
	return &want, os.WriteFile(stamp, data, 0o644)
}

// files of the corpus in order, at most size bytes of them; 0 is all.
func (c *corpus) files(size int64) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(c.dir, "*.json.gz"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	if size <= 0 {
		return names, nil
	}
	total := int64(0)
	for i, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if total += info.Size(); total > size {
			return names[:max(i, 1)], nil
		}
	}
	return names, nil
}

// makeRules writes the shipped rules, and generated ones until they are total.
func (b *bench) makeRules(name string, total int) (string, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	files := map[string][]byte{}
	err := fs.WalkDir(shipped.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = shipped.FS.ReadFile(name)
		return err
	})
	if err != nil {
		return "", err
	}
	for name, data := range rulegen.Files(max(0, total-len(files)), seed) {
		files["generated/"+name] = data
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// lines counts the lines of a file.
func lines(name string) (int64, error) {
	data, err := os.ReadFile(name)
	return int64(bytes.Count(data, []byte("\n"))), err
}
