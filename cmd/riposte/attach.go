package main

import (
	"context"

	"github.com/spf13/cobra"

	"riposte/internal/bus"
)

// attachFlags find the data of a daemon, running or not.
type attachFlags struct{ config, dataDir string }

func (f *attachFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file of the daemon")
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "", "folder of the daemon's streams and state (default riposte-data)")
}

func (f *attachFlags) load() (Config, error) {
	c, err := loadConfig(f.config)
	if f.dataDir != "" {
		c.DataDir = f.dataDir
	}
	return c, err
}

// with attaches to the running daemon, or opens its folder when none runs, and
// calls do.
func (f *attachFlags) with(ctx context.Context, do func(*view) error) error {
	c, err := f.load()
	if err != nil {
		return err
	}
	b, err := bus.Attach(ctx, c.busDir(), c.Bus, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	s, err := openState(ctx, b, c.Bus.Replicas)
	if err != nil {
		return err
	}
	v := newView(b, s, nil)
	if v.inventory, err = openInventory(s, b, &c, nil); err != nil {
		return err
	}
	return do(v)
}
