package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"riposte/internal/bus"
	"riposte/internal/bus/bustest"
)

// small is a configuration whose streams hold 1 MiB, so that tests fill them.
func small() bus.Config {
	c := bus.DefaultConfig()
	c.EventsMaxBytes, c.FindingsMaxBytes, c.IncidentsMaxBytes, c.DeadMaxBytes = 1<<20, 1<<20, 1<<20, 1<<20
	return c
}

func open(t testing.TB, dir string, c bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.Open(context.WithoutCancel(t.Context()), dir, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.SetAckWait(patience)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func embeddedBackend(t *testing.T) *bustest.Backend {
	dir := t.TempDir()
	b := open(t, dir, small())
	return &bustest.Backend{Bus: b, Restart: func(t *testing.T) bustest.Bus {
		t.Helper()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = open(t, dir, small())
		return b
	}}
}

// patience is how long a message that was in hand when a bus was closed waits.
const patience = 2 * time.Second

func TestEmbedded(t *testing.T) { t.Parallel(); bustest.Test(t, embeddedBackend) }
func TestOutside(t *testing.T)  { t.Parallel(); bustest.Test(t, outside(withToken)) }

// TestOutsideBriefly is for the other ways to show who we are.
func TestOutsideBriefly(t *testing.T) {
	t.Parallel()
	t.Run("nkey", func(t *testing.T) { bustest.Brief(t, outside(withNKey)) })
	t.Run("jwt", func(t *testing.T) { bustest.Brief(t, outside(withJWT)) })
	t.Run("mutual TLS", func(t *testing.T) { bustest.Brief(t, outside(withTLS)) })
}

var seeds = flag.Uint64("bus.seeds", 2, "how many seeds TestRandom plays; each is some seconds")

// TestRandom plays random failures and restarts. For an hour of it:
//
//	go test ./internal/bus -run TestRandom -bus.seeds 500 -timeout 2h
func TestRandom(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			bustest.Random(t, embeddedBackend(t), 100+seed, 60, 4)
			bustest.Random(t, outside(withToken)(t), 200+seed, 60, 4)
		})
	}
}

// outsider is a NATS server that is not ours.
type outsider struct {
	options *server.Options
	server  *server.Server
}

// outside returns what makes a server and a bus that connects to it by URL, both
// configured by way.
func outside(way func(t *testing.T, o *server.Options, c *bus.Config)) func(t *testing.T) *bustest.Backend {
	return func(t *testing.T) *bustest.Backend {
		s, c := startOutsider(t, way)
		b := open(t, "", c)
		return &bustest.Backend{Bus: b, Restart: func(t *testing.T) bustest.Bus {
			s.stop()
			s.start(t)
			return b
		}}
	}
}

func startOutsider(t *testing.T, way func(t *testing.T, o *server.Options, c *bus.Config)) (*outsider, bus.Config) {
	t.Helper()
	c := small()
	s := &outsider{options: &server.Options{
		ServerName: "outside", Host: "127.0.0.1", Port: freePort(t), JetStream: true, StoreDir: t.TempDir(),
		MaxPayload: 1 << 20, NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
	}}
	c.URL = "nats://" + net.JoinHostPort("127.0.0.1", itoa(s.options.Port))
	way(t, s.options, &c)
	s.start(t)
	t.Cleanup(s.stop)
	return s, c
}

func (s *outsider) start(t *testing.T) {
	t.Helper()
	var err error
	if s.server, err = server.NewServer(s.options.Clone()); err != nil {
		t.Fatal(err)
	}
	s.server.Start()
	if !s.server.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
}

func (s *outsider) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// freePort finds a port that stays the server's over its restarts.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func itoa(n int) string { return big.NewInt(int64(n)).String() }

func file(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func withToken(t *testing.T, o *server.Options, c *bus.Config) {
	o.Authorization = "open sesame"
	c.TokenFile = file(t, []byte("open sesame\n"))
}

func withNKey(t *testing.T, o *server.Options, c *bus.Config) {
	key := must(nkeys.CreateUser())(t)
	o.Nkeys = []*server.NkeyUser{{Nkey: must(key.PublicKey())(t)}}
	c.NKeyFile = file(t, must(key.Seed())(t))
}

func withJWT(t *testing.T, o *server.Options, c *bus.Config) {
	operator, system, account, user := must(nkeys.CreateOperator())(t), must(nkeys.CreateAccount())(t), must(nkeys.CreateAccount())(t), must(nkeys.CreateUser())(t)
	operatorClaims := jwt.NewOperatorClaims(must(operator.PublicKey())(t))
	operatorClaims.SystemAccount = must(system.PublicKey())(t)
	accounts := &server.MemAccResolver{}
	for _, a := range []nkeys.KeyPair{system, account} {
		claims := jwt.NewAccountClaims(must(a.PublicKey())(t))
		if a == account {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		if err := accounts.Store(claims.Subject, must(claims.Encode(operator))(t)); err != nil {
			t.Fatal(err)
		}
	}
	operatorToken := must(operatorClaims.Encode(operator))(t)
	o.TrustedOperators = []*jwt.OperatorClaims{must(jwt.DecodeOperatorClaims(operatorToken))(t)}
	o.SystemAccount, o.AccountResolver = operatorClaims.SystemAccount, accounts
	userToken := must(jwt.NewUserClaims(must(user.PublicKey())(t)).Encode(account))(t)
	c.CredentialsFile = file(t, must(jwt.FormatUserConfig(userToken, must(user.Seed())(t)))(t))
}

// withTLS has an authority of its own and certificates on both sides.
func withTLS(t *testing.T, o *server.Options, c *bus.Config) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	root := must(x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key))(t)
	serial := int64(1)
	issue := func() (certFile, keyFile string) {
		serial++
		own := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
		cert := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "one"}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		}, authority, &own.PublicKey, key))(t)
		return file(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
			file(t, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(own))(t)}))
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	certFile, keyFile := issue()
	o.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{must(tls.LoadX509KeyPair(certFile, keyFile))(t)}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
	o.TLSVerify, o.TLSTimeout = true, 10
	c.URL = strings.Replace(c.URL, "nats://", "tls://", 1)
	c.CAFile = file(t, ca)
	c.CertFile, c.KeyFile = issue()
}
