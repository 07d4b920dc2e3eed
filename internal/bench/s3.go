package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"riposte/internal/awsfake"
)

// s3Receivers are as many as the limit on memory is for.
const s3Receivers = 8

// s3 measures the road from S3 and SQS into the stream's files: notifications wait
// in a queue, objects in a bucket, both on loopback in this process, which shares
// the cores. The half of the corpus tells whether the cost follows the bytes.
func (b *bench) s3(ctx context.Context) error {
	day, err := b.makeCorpus(ctx, "stream", min(b.size, streamSize), ordinaryDay)
	if err != nil {
		return err
	}
	all, err := filepath.Glob(filepath.Join(day.dir, "*"))
	if err != nil {
		return err
	}
	slices.Sort(all)
	var whole, half []s3Run
	for range b.rounds {
		h, err := b.s3Once(ctx, all[:len(all)/2])
		if err != nil {
			return err
		}
		w, err := b.s3Once(ctx, all)
		if err != nil {
			return err
		}
		whole, half = append(whole, w), append(half, h)
	}
	rate := over(whole, func(r s3Run) float64 { return float64(day.Records) / seconds(r.took) })
	b.report.add(figure{Name: "S3 and SQS into the stream, records a second", Measured: quantile(rate, 1), Limit: 100_000, AtLeast: true,
		Note: fmt.Sprintf("best of %d, median %s, from the first receive to the last delete; %d records in %d objects; it had %.2f cores, and its S3 and SQS the rest",
			b.rounds, number(median(rate)), day.Records, len(all), slices.Max(over(whole, func(r s3Run) float64 { return cores(r.used) })))})
	b.report.add(figure{Name: "S3 and SQS into the stream, most memory held", Measured: slices.Max(over(whole, func(r s3Run) float64 { return rss(r.used) })), Unit: "MB", Limit: 200,
		Note: fmt.Sprintf("%d receivers; %.1f µs of CPU a record, start and stop included", s3Receivers, median(over(whole, func(r s3Run) float64 { return float64(r.used.cpu.Microseconds()) / float64(day.Records) })))})
	perByte := func(r s3Run) float64 { return seconds(r.used.cpu) / float64(r.bytes) }
	b.report.add(figure{Name: "S3 and SQS, CPU a byte, to that of half the bytes", Measured: median(over(whole, perByte)) / median(over(half, perByte)), Unit: "×", Limit: 1.15,
		Note: fmt.Sprintf("%.0f and %.0f MB as stored, start and stop included", float64(whole[0].bytes)/1e6, float64(half[0].bytes)/1e6)})
	return nil
}

// s3Run is one daemon that emptied a queue.
type s3Run struct {
	used  usage
	took  time.Duration
	bytes int64
}

func (b *bench) s3Once(ctx context.Context, files []string) (r s3Run, err error) {
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{"111122223333": {Buckets: map[string]*awsfake.Bucket{"example-logs": {Region: "eu-west-1"}}}}}, "111122223333")
	defer fake.Close()
	fake.CreateQueue("dead", awsfake.Queue{})
	queue := fake.CreateQueue("riposte", awsfake.Queue{Dead: "dead", MaxReceives: 5})
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return r, err
		}
		key := "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/" + filepath.Base(f)
		r.bytes += info.Size()
		fake.Store("example-logs", key, awsfake.Blob{Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(f) }})
		fake.Send("riposte", fmt.Sprintf(`{"s3Bucket":"example-logs","s3ObjectKey":[%q]}`, key), 0)
	}
	data, err := os.MkdirTemp(b.dir, "data")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(data)
	config := filepath.Join(data, "riposte.yaml")
	text := fmt.Sprintf("data_dir: %s\nroles: [ingest]\ndetect: {builtin: false}\nrespond: {builtin: false}\nsources: [{s3: {queue: %q, receivers: %d}}]\n", data, queue, s3Receivers)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, b.riposte, "run", "--config", config)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+fake.URL(), "AWS_ACCESS_KEY_ID=AKIAFAKE", "AWS_SECRET_ACCESS_KEY=fake",
		"AWS_CONFIG_FILE="+filepath.Join(data, "none"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(data, "none"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	stop := watchMemory(cmd.Process.Pid, &r.used.rss)
	asked := func() bool {
		return slices.ContainsFunc(fake.Calls(), func(c awsfake.Call) bool { return c.Operation == "ReceiveMessage" })
	}
	waited := fake.Until(ctx, asked)
	first := time.Now()
	if waited == nil {
		waited = fake.Until(ctx, func() bool { return len(fake.Messages("riposte")) == 0 })
	}
	r.took = time.Since(first)
	_ = cmd.Process.Signal(os.Interrupt) // and its end says whether it was there
	err = cmd.Wait()
	r.used.wall = time.Since(start)
	stop()
	r.used.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	switch {
	case waited != nil:
		return r, fmt.Errorf("the queue is not emptied: %w: %s", waited, tail(stderr.Bytes()))
	case err != nil:
		return r, fmt.Errorf("riposte run: %w: %s", err, tail(stderr.Bytes()))
	case len(fake.Messages("dead")) > 0:
		return r, fmt.Errorf("%w: %d messages are dead: %s", errCheck, len(fake.Messages("dead")), tail(stderr.Bytes()))
	}
	return r, nil
}
