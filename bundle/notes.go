package bundle

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Note is something that an administrator should know of a bundle, such as an archive that was damaged.
type Note struct {
	Time   time.Time
	Bundle string
	Text   string
}

// Notes are kept for a day, and at most maxNotes.
const (
	noteLife = 24 * time.Hour
	maxNotes = 100
)

// notes are the last ones, oldest first.
type notes struct {
	mu   sync.Mutex
	list []Note
}

func (n *notes) add(note Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	// What goes wrong again and again is one note.
	n.list = slices.DeleteFunc(n.list, func(o Note) bool {
		return o.Bundle == note.Bundle && o.Text == note.Text || note.Time.Sub(o.Time) > noteLife
	})
	n.list = append(n.list, note)
	n.list = n.list[max(0, len(n.list)-maxNotes):]
}

// note tells the log and whoever asks for [Library.Notes].
func (l *Library) note(bundle, text string, err error) {
	fields := []zap.Field{zap.String("bundle", bundle)}
	if err != nil {
		fields = append(fields, zap.Error(err))
		text += ": " + err.Error()
	}
	l.Log.Warn("a bundle needs attention: "+text, fields[0])
	l.notes.add(Note{Time: l.Now(), Bundle: bundle, Text: text})
}

// Notes returns what happened to bundles within the last day, oldest first.
func (l *Library) Notes() []Note {
	l.notes.mu.Lock()
	defer l.notes.mu.Unlock()
	now := l.Now()
	var list []Note
	for _, n := range l.notes.list {
		if now.Sub(n.Time) <= noteLife {
			list = append(list, n)
		}
	}
	return list
}
