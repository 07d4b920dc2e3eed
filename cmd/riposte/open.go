package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"syscall"
	"time"

	"riposte/detect"
	"riposte/ingest"
	"riposte/internal/bus"
	"riposte/internal/store"
	"riposte/internal/telemetry"
	"riposte/respond"
	"riposte/respond/aws"
	"riposte/respond/notify"
)

// openPipeline opens the bus and everything that the configuration's roles need.
// clients reach AWS; nil makes them from the configuration. The caller closes the bus.
func openPipeline(ctx context.Context, c Config, tel *telemetry.Telemetry, clients *aws.Clients) (p *pipeline, err error) {
	p = &pipeline{cfg: c, log: tel.Logger, tel: tel, started: time.Now().UTC()}
	// Rules and playbooks first: a bad one must not start anything.
	if p.rules, err = detect.NewLive(c.Detect.Rules, func() (*detect.RuleSet, error) { return loadRules(&c) }); err != nil {
		return nil, err
	}
	if clients == nil {
		if clients, err = aws.NewClients(ctx, c.Respond.AWS, nil); err != nil {
			return nil, err
		}
	}
	actions := traced(actionTable(clients, c.Respond.Webhooks), tel.Tracer)
	playbooks, err := loadPlaybooks(&c, actions)
	if err != nil {
		return nil, err
	}
	if p.bus, err = bus.Open(ctx, c.busDir(), c.Bus, tel.Logger); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.bus.Close())
		}
	}()
	if p.state, err = openState(ctx, p.bus, c.Bus.Replicas); err != nil {
		return nil, err
	}
	if p.inventory, err = openInventory(p.state, p.bus, &c, tel.Logger); err != nil {
		return nil, err
	}
	p.view = newView(p.bus, p.state, p)
	p.respond, err = respond.New(respond.Config{
		Mode: c.Respond.Mode, Window: c.Respond.Window, Playbooks: playbooks, Actions: actions,
		Incidents: p.state.incidents, Books: p.state.books, Runs: p.state.runs, Journal: p.state.journal,
		NotFound: store.ErrNotFound, Conflict: store.ErrConflict, Log: tel.Logger,
		Recorder: recorded{p.inventory}, Changed: p.announce,
		Planned: func(ctx context.Context, s *respond.StepRun) { tel.Planned(ctx, s.Action, s.Decision()) },
	})
	return p, err
}

// actionTable names every action that a playbook may use.
func actionTable(clients *aws.Clients, hooks map[string]notify.Config) map[string]respond.Action {
	actions := aws.Actions(clients)
	maps.Copy(actions, map[string]respond.Action{
		"notify.webhook": notify.NewWebhook(hooks),
	})
	return actions
}

// reloadOnSignal reloads the rules on SIGHUP, whatever their files' dates say.
func (p *pipeline) reloadOnSignal(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			p.reloaded(ctx, p.rules.Reload())
		}
	}
}

// brokenTo prints records that could not be read.
func brokenTo(w io.Writer) func(context.Context, ingest.Broken) error {
	return func(_ context.Context, b ingest.Broken) error {
		_, err := fmt.Fprintf(w, "riposte: skipped %s: %s\n", printable(b.Origin.String()), printable(b.Reason))
		return err
	}
}

// announce tells those who watch that an incident changed.
func (p *pipeline) announce(ctx context.Context, in *respond.Incident) error {
	body, err := json.Marshal(in.Summary())
	if err != nil {
		return err
	}
	return p.bus.PublishIncident(ctx, in.ID, body)
}
