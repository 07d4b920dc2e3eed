//go:build ignore

// This program writes catalogue.txt.gz: the services and actions that AWS's API
// models know, read from the models/apis folder of github.com/aws/aws-sdk-go
// (Apache-2.0). Run it with that folder as its argument:
//
//	go run gencatalogue.go DIR
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go run gencatalogue.go DIR")
	}
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*", "*", "api-2.json"))
	if err != nil || len(files) == 0 {
		log.Fatalf("no models in %s: %v", os.Args[1], err)
	}
	services := map[string]map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		var model struct {
			Metadata struct {
				EndpointPrefix string `json:"endpointPrefix"`
				SigningName    string `json:"signingName"`
			} `json:"metadata"`
			Operations map[string]json.RawMessage `json:"operations"`
		}
		if err := json.Unmarshal(data, &model); err != nil {
			log.Fatalf("%s: %v", file, err)
		}
		// CloudTrail's eventSource follows one or the other, or the model's folder.
		folder := filepath.Base(filepath.Dir(filepath.Dir(file)))
		for _, name := range []string{model.Metadata.EndpointPrefix, model.Metadata.SigningName, folder} {
			name = strings.ToLower(name)
			if name == "" || strings.ContainsAny(name, "{} ") {
				continue
			}
			if i := strings.LastIndexByte(name, '.'); i >= 0 {
				name = name[i+1:]
			}
			if services[name] == nil {
				services[name] = map[string]bool{}
			}
			for op := range model.Operations {
				services[name][op] = true
			}
		}
	}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(services)) {
		fmt.Fprintf(&out, "%s %s\n", name, strings.Join(slices.Sorted(maps.Keys(services[name])), " "))
	}
	f, err := os.Create("catalogue.txt.gz")
	if err != nil {
		log.Fatal(err)
	}
	w, _ := gzip.NewWriterLevel(f, gzip.BestCompression)
	if _, err := w.Write(out.Bytes()); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
}
