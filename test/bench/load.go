package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// load is a program that asks for one address as fast as it can.
type load struct {
	name string
	// run returns how many requests were answered with success, and in which time.
	run func(ctx context.Context, url, accept string, connections int, d time.Duration) (int64, time.Duration, error)
}

// findLoad returns the best load that is installed. The lighter it is, the more of the machine is the server's.
func findLoad() load {
	if program, err := exec.LookPath("wrk"); err == nil {
		return load{"wrk", func(ctx context.Context, url, accept string, connections int, d time.Duration) (int64, time.Duration, error) {
			args := []string{"-t2", "-c" + strconv.Itoa(connections), "-d" + seconds(d)}
			if accept != "" {
				args = append(args, "-H", "Accept-Encoding: "+accept)
			}
			out, err := runLoad(ctx, d, program, append(args, url)...)
			if err != nil {
				return 0, 0, err
			}
			return parseWrk(out)
		}}
	}
	if program, err := exec.LookPath("hey"); err == nil {
		return load{"hey", func(ctx context.Context, url, accept string, connections int, d time.Duration) (int64, time.Duration, error) {
			args := []string{"-c", strconv.Itoa(connections), "-z", d.String(), "-cpus", "2", "-disable-compression"}
			if accept != "" {
				args = append(args, "-H", "Accept-Encoding: "+accept)
			}
			out, err := runLoad(ctx, d, program, append(args, url)...)
			if err != nil {
				return 0, 0, err
			}
			return parseHey(out)
		}}
	}
	return load{"a loader in Go; wrk is missing: apt-get install wrk", goLoad}
}

func seconds(d time.Duration) string { return strconv.Itoa(max(1, int(d.Seconds()))) + "s" }

// runLoad runs the program, with a bound on its time.
func runLoad(ctx context.Context, d time.Duration, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, roundBound(d))
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return string(out), nil
}

var (
	wrkTotal  = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([\d.]+)(ms|s|m),`)
	wrkFaults = regexp.MustCompile(`(?m)^\s*(Socket errors: .*|Non-2xx or 3xx responses: .*)$`)
	heyTotal  = regexp.MustCompile(`(?m)^\s*Total:\s*([\d.]+) secs`)
	heyStatus = regexp.MustCompile(`(?m)^\s*\[(\d+)\]\s+(\d+) responses`)
	heyFaults = regexp.MustCompile(`(?m)^Error distribution:`)
)

// parseWrk reads what wrk prints. Any fault makes the round worthless.
func parseWrk(out string) (int64, time.Duration, error) {
	if f := wrkFaults.FindString(out); f != "" {
		return 0, 0, fmt.Errorf("wrk: %s", f)
	}
	m := wrkTotal.FindStringSubmatch(out)
	if m == nil {
		return 0, 0, fmt.Errorf("wrk printed no total: %s", out)
	}
	requests, _ := strconv.ParseInt(m[1], 10, 64)
	took, err := time.ParseDuration(m[2] + m[3])
	if err != nil || took <= 0 {
		return 0, 0, fmt.Errorf("wrk printed a strange time: %s", m[0])
	}
	return requests, took, nil
}

// parseHey reads what hey prints.
func parseHey(out string) (int64, time.Duration, error) {
	total := heyTotal.FindStringSubmatch(out)
	if total == nil || heyFaults.MatchString(out) {
		return 0, 0, fmt.Errorf("hey had errors: %s", out)
	}
	took, err := time.ParseDuration(total[1] + "s")
	if err != nil || took <= 0 {
		return 0, 0, fmt.Errorf("hey printed a strange time: %s", total[0])
	}
	var requests int64
	for _, m := range heyStatus.FindAllStringSubmatch(out, -1) {
		if m[1] != "200" {
			return 0, 0, fmt.Errorf("hey got status %s", m[1])
		}
		n, _ := strconv.ParseInt(m[2], 10, 64)
		requests += n
	}
	return requests, took, nil
}

// goLoad asks with net/http over as many connections, each for one request at a time. It is heavier than wrk, on the
// machine that is measured.
func goLoad(ctx context.Context, url, accept string, connections int, d time.Duration) (int64, time.Duration, error) {
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // self-signed, on loopback
		MaxIdleConnsPerHost: connections, DisableCompression: true, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: probeTimeout}
	var requests atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	began := time.Now()
	for range connections {
		workers.Go(func() {
			for time.Since(began) < d && failed.Load() == nil {
				if err := getOnce(ctx, client, url, accept); err != nil {
					failed.Store(&err)
					return
				}
				requests.Add(1)
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return requests.Load(), time.Since(began), nil
}

func getOnce(ctx context.Context, client *http.Client, url, accept string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if accept != "" {
		req.Header.Set("Accept-Encoding", accept)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answers %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
