package bus

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// maxPayload bounds a message: a batch of 100 of CloudTrail's largest records
// compresses to well under it, and batches beyond are split.
const maxPayload = 8 << 20

// minPayload is the least that an outside server must allow.
const minPayload = 256 << 10

// embedded is a NATS server in this process. Its own connection is in memory;
// beside it the server listens on a loopback port, with a token that is new at
// every start, so that the command line can attach to a running daemon.
type embedded struct {
	server *server.Server
	lock   *os.File
	dir    string
	token  string
}

// attachInfo is what attach.json holds, readable by its owner only.
type attachInfo struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	PID   int    `json:"pid"`
}

// ErrInUse says that another process has the folder.
var ErrInUse = errors.New("the folder is in use")

func startEmbedded(dir string, c Config) (*embedded, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{lock: lock, dir: dir, token: rand.Text()}
	ok := false
	defer func() {
		if !ok {
			e.stop()
		}
	}()
	e.server, err = server.NewServer(&server.Options{
		ServerName: "riposte", Host: "127.0.0.1", Port: server.RANDOM_PORT, Authorization: e.token,
		JetStream: true, StoreDir: dir, SyncInterval: c.SyncInterval, SyncAlways: c.SyncAlways,
		// The limits are the streams' own.
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 2 * (c.EventsMaxBytes + c.FindingsMaxBytes + c.IncidentsMaxBytes + c.DeadMaxBytes + 1<<30),
		MaxPayload: maxPayload, NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make the embedded NATS server: %w", err)
	}
	e.server.Start()
	if !e.server.ReadyForConnections(30 * time.Second) {
		return nil, fmt.Errorf("the embedded NATS server in %s did not become ready in 30 s: is the disk full or very slow?", dir)
	}
	info, err := json.Marshal(attachInfo{URL: e.server.ClientURL(), Token: e.token, PID: os.Getpid()})
	if err != nil {
		return nil, err
	}
	if err := writeOwn(filepath.Join(dir, "attach.json"), info); err != nil {
		return nil, fmt.Errorf("write attach.json: %w", err)
	}
	ok = true
	return e, nil
}

// writeOwn writes a file whole, for its owner only, whatever was there before.
func writeOwn(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// lockFolder takes the folder for this process; the lock goes with the process.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid := make([]byte, 20)
		n, _ := f.Read(pid)
		f.Close()
		if n == 0 {
			pid = []byte("(just starting)")
			n = len(pid)
		}
		return nil, fmt.Errorf("%s: %w by process %s: stop it, or give this one another data_dir", dir, ErrInUse, strings.TrimSpace(string(pid[:n])))
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write the lock: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write the lock: %w", err)
	}
	return f, nil
}

func (e *embedded) connect() (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(e.server), nats.Token(e.token), nats.Name("riposte"), nats.MaxReconnects(-1))
}

// stop ends the server and waits until its files are closed.
func (e *embedded) stop() {
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		os.Remove(filepath.Join(e.dir, "attach.json"))
	}
	e.lock.Close()
}

// connectOutside connects to a cluster by URL, and again whenever the connection
// is lost.
func connectOutside(c Config, log *slog.Logger) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("riposte"), nats.Timeout(5 * time.Second),
		// What cannot be sent now is refused, and its publisher tries again.
		nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 250*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("bus disconnected, connecting again", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("bus connected again", "server", nc.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("bus connection", "err", err) }),
	}
	if c.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(c.CredentialsFile))
	}
	if c.NKeyFile != "" {
		o, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("bus.nkey_file: read the seed of %s: %w", c.NKeyFile, err)
		}
		opts = append(opts, o)
	}
	if c.TokenFile != "" {
		if _, err := os.ReadFile(c.TokenFile); err != nil {
			return nil, fmt.Errorf("bus.token_file: %w", err)
		}
		opts = append(opts, nats.TokenHandler(func() string {
			token, err := os.ReadFile(c.TokenFile)
			if err != nil {
				log.Warn("token not read", "err", err)
			}
			return strings.TrimSpace(string(token))
		}))
	}
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	nc, err := nats.Connect(strings.Join(c.urls(), ","), opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.URL, err)
	}
	return nc, nil
}
