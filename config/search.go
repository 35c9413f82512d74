package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const defaultSystemDir = "/etc/statiko"

// search returns the path of the file to read, "" if there is none.
func search(o Options) (string, []Warning, error) {
	if o.Path != "" {
		return o.Path, nil, nil
	}
	var dirs []string
	named := ""
	if o.Env != nil {
		named = o.Env("CONFIG_FILE_PATH")
	}
	if named != "" {
		info, err := os.Stat(named)
		if err == nil && !info.IsDir() {
			return "", nil, fmt.Errorf("the environment variable CONFIG_FILE_PATH is %s, which is a file: "+
				"it names the folder that holds node-config.yaml; a file is named by --config", named)
		}
		dirs = append(dirs, named)
	}
	system := o.SystemDir
	if system == "" {
		system = defaultSystemDir
	}
	dirs = append(dirs, system)
	if !o.Production {
		dirs = append(dirs, o.Dir) // "" joins to a name in the current directory
	}
	var warnings []Warning
	for _, dir := range dirs {
		for _, ext := range []string{".yaml", ".yml", ".json"} {
			path := filepath.Join(dir, "node-config"+ext)
			info, err := os.Stat(path)
			switch {
			case err == nil && !info.IsDir():
				return path, warnings, nil
			case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
				// Going on to the next folder would start the node with another configuration than its owner wrote.
				return "", warnings, fmt.Errorf("look for the configuration: %w", err)
			}
		}
		if dir == named && named != "" {
			warnings = append(warnings, Warning{Env: "CONFIG_FILE_PATH",
				Message: fmt.Sprintf("there is no node-config.yaml, .yml or .json in %s: looking elsewhere", named)})
		}
	}
	return "", warnings, nil
}
