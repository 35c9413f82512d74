package dhparams

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// lowestNice is the lowest priority that Linux has for a thread among others (sched(7)).
const lowestNice = 19

// atLowPriority runs f on a thread of its own with the lowest priority, which ends with it. In Linux the nice value
// belongs to a thread (setpriority(2), "C library/kernel differences"). It is not SCHED_IDLE, which may leave a
// thread without processor for as long as others have work: the whole process waits for it when its garbage is
// collected.
func atLowPriority(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with the goroutine, and nothing else runs with its priority.
		runtime.LockOSThread()
		// Without permission it stays as it is, which is no fault.
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, lowestNice)
		f()
	}()
	<-done
}
