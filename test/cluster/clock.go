package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ClockShift is the variable of the environment by which programs of [BuildWithClock] shift their wall clock, in seconds.
const ClockShift = "STATIKO_TEST_CLOCK_SHIFT"

// BuildWithClock is [Build] with a standard library in which the wall clock of time.Now is shifted by [ClockShift]; what time
// has passed (the monotonic clock) stays right. Nothing that works from outside does: Go asks the kernel for the time
// without the C library, so that libfaketime is never asked.
func BuildWithClock(folder string, flags ...string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	library := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	original := filepath.Join(library, "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	const asked = "	sec, nsec, mono := runtimeNow()\n"
	if n := strings.Count(string(text), asked); n == 0 {
		return fmt.Errorf("%s reads the clock in another way than this knows", original)
	}
	shifted := strings.ReplaceAll(string(text), asked, asked+"	sec += shiftedBy\n")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	replace := map[string]string{}
	for target, content := range map[string]string{original: shifted, filepath.Join(library, "shifted.go"): shift} {
		path := filepath.Join(folder, filepath.Base(target)+".txt")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
		replace[target] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return err
	}
	return Build(folder, append(flags, "-overlay="+file)...)
}

// shift is the file that is added to package time.
const shift = `package time

import "syscall"

var shiftedBy = func() (seconds int64) {
	text, _ := syscall.Getenv("` + ClockShift + `")
	sign := int64(1)
	for i := range len(text) {
		if text[i] == '-' {
			sign = -1
			continue
		}
		seconds = 10*seconds + int64(text[i]-'0')
	}
	return sign * seconds
}()
`
