package main

import "testing"

func TestMeasureObjects_FillsItsRows(t *testing.T) {
	b := &bench{size: tiny, dir: t.TempDir()}
	if err := measureObjects(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if len(b.rows) != 2 || b.rows[0].Ours <= 0 || b.rows[0].Ratio <= 0 || b.rows[1].Ours <= 0 || b.rows[1].Ratio <= 0 {
		t.Errorf("%+v", b.rows)
	}
}
