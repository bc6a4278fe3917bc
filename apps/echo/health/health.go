// Package health asks again and again whether a service is well: by a command that
// succeeds or a URL that is found.
//
// It is for servers that are to answer only while what stands behind them works, as
// anycast and failover want it.
//
//	c, err := health.New(health.Config{
//		Check:    "http://127.0.0.1:8080/healthz",
//		Interval: 5 * time.Second,
//		OnChange: func(well bool, cause error) {
//			l.Post(func() { policy.SetHealthy(well) })
//		},
//	})
//	if err != nil {
//		return err
//	}
//	go c.Run(ctx)
//
// Until the first check has succeeded the service counts as not well.
package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Config says what to ask, and how often.
type Config struct {
	// Check is a URL, if it begins with http:// or https://, which is well if the
	// answer to GET is 200 to 299 after redirections; or a command for sh(1), which is
	// well if it exits with 0.
	Check string
	// Interval is the time from the beginning of a check to that of the next; 0 is 5
	// seconds. A check that takes longer delays the next one.
	Interval time.Duration
	// Timeout is how long a check may take; 0 is the Interval. What a command has
	// started is killed then, as far as it is still in its process group.
	Timeout time.Duration
	// Threshold is how many checks in a row, with the same result, it takes to change
	// what is believed; 0 is 1.
	Threshold int
	// OnChange is called from Run when the service is well, with a nil error, or has
	// ceased to be, with what the check says. The first call comes after the first
	// checks, whatever they say.
	OnChange func(well bool, cause error)
}

// Checker checks a service.
type Checker struct {
	cfg   Config
	check func(ctx context.Context) error
}

// New returns a Checker, or an error that says what is wrong with the Config.
func New(cfg Config) (*Checker, error) {
	if cfg.Interval == 0 {
		cfg.Interval = 5 * time.Second
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = cfg.Interval
	}
	if cfg.Threshold == 0 {
		cfg.Threshold = 1
	}
	c := &Checker{cfg: cfg}
	switch {
	case strings.TrimSpace(cfg.Check) == "":
		return nil, errors.New("health: no check: want a command or a URL")
	case cfg.Interval < 0 || cfg.Timeout < 0:
		return nil, fmt.Errorf("health: interval %v, timeout %v: want times above 0", cfg.Interval, cfg.Timeout)
	case cfg.Threshold < 0:
		return nil, fmt.Errorf("health: threshold %d: want a number of checks", cfg.Threshold)
	case cfg.OnChange == nil:
		return nil, errors.New("health: Config.OnChange is nil: nobody would be told")
	}
	if strings.HasPrefix(cfg.Check, "http://") || strings.HasPrefix(cfg.Check, "https://") {
		if u, err := url.Parse(cfg.Check); err != nil || u.Host == "" {
			return nil, fmt.Errorf("health: %q is no URL: want one such as http://127.0.0.1:8080/healthz", cfg.Check)
		}
		// A connection of its own each time: one that is kept alive may be well where
		// new ones are refused.
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
		c.check = func(ctx context.Context) error { return get(ctx, client, cfg.Check) }
	} else {
		c.check = func(ctx context.Context) error { return execute(ctx, cfg.Check) }
	}
	return c, nil
}

// Run checks until the context ends.
func (c *Checker) Run(ctx context.Context) {
	// The kernel kills a command when the thread that has started it ends, so this
	// thread stays. Whatever capabilities a program is handed down, a check is not: it
	// never returns to the others.
	runtime.LockOSThread()
	unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)

	ticks := time.NewTicker(c.cfg.Interval)
	defer ticks.Stop()
	well, known, row := false, false, 0
	for {
		check, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		err := c.check(check)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no result within %v", c.cfg.Timeout)
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		if good := err == nil; known && good == well {
			row = 0
		} else if row++; row >= c.cfg.Threshold || !known && !good {
			// Until something is known it is not well: there is nothing to wait for.
			well, known, row = good, true, 0
			c.cfg.OnChange(well, err)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// get asks for a URL.
func get(ctx context.Context, client *http.Client, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("%s says %s", address, answer.Status)
	}
	return nil
}
