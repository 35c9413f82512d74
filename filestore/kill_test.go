package filestore

func childMain() bool { return false }
