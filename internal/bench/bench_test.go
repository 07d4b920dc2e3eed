package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"300MB": 300e6, "64MiB": 64 << 20, "1.5GB": 1.5e9, "1000": 1000, "7B": 7} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "MB", "-3MB", "0", "many"} {
		if _, err := parseSize(in); err == nil {
			t.Errorf("%q is accepted", in)
		}
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4} {
		if got := quantile(v, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("none has a median")
	}
	if got := median(pairs([]float64{2, 9, 8}, []float64{1, 3, 2})); got != 3 {
		t.Errorf("median of ratios is %v, want 3", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{1234567: "1,234,567", 999: "999", 12.34: "12.3", 1.234: "1.23", 0.0012: "0.0012", 0: "0", 100_000: "100,000"} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		f    figure
		want string
	}{
		{figure{Measured: 1.2, Limit: 1.3}, "ok"}, {figure{Measured: 1.4, Limit: 1.3}, "MISSED"},
		{figure{Measured: 1.9, Limit: 1.8, AtLeast: true}, "ok"}, {figure{Measured: 1.7, Limit: 1.8, AtLeast: true}, "MISSED"},
		{figure{Measured: math.NaN(), Limit: 1}, "MISSED"}, {figure{Measured: 5}, ""},
	} {
		if got := c.f.verdict(); got != c.want {
			t.Errorf("%+v is %q, want %q", c.f, got, c.want)
		}
	}
	r := report{{Name: "a", Measured: 2, Unit: "s", Limit: 1}}
	var out bytes.Buffer
	if err := r.print(&out); err != nil || !r.missed() || !strings.Contains(out.String(), "MISSED") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestLastJSON(t *testing.T) {
	var d drained
	out := "{\"time\":\"x\"}\nwords\n{\"published\":3,\"p99ms\":1.5}\nbye\n"
	if err := lastJSON([]byte(out), &d); err != nil || d.Published != 3 || d.P99 != 1.5 {
		t.Errorf("%+v, %v", d, err)
	}
	if lastJSON([]byte("nothing"), &d) == nil {
		t.Error("nothing is accepted")
	}
}

func TestChoose(t *testing.T) {
	if got, err := choose("cold,hunt"); err != nil || len(got) != 2 || got[0].name != "cold" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := choose("warp"); err == nil {
		t.Error("an unknown part is accepted")
	}
}

func TestPeak(t *testing.T) {
	if got := peak([]byte("Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t  1024 kB\nVmRSS:\t 3 kB\n")); got != 1<<20 {
		t.Errorf("%d", got)
	}
	if got := peak([]byte("Name:\tx\n")); got != 0 {
		t.Errorf("a process that has ended holds %d", got)
	}
}
