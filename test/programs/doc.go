// Package programs builds and runs the servers of others for tests: [Built] and [Installed] get a program once and keep
// it in the user's cache, [Start] runs it as a child that ends with this process, and a [Proxy] stands before it.
package programs
