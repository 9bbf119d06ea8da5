// Makes session files with the real gotd, or opens them.
//
//	gotd make     prints one JSON object
//	gotd open     a file's content per line of stdin, an object per line
//
// The keys are made up. Nothing here opens a connection: only the session's reader and writer are
// used.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/gotd/td/session"
)

type told struct {
	JSON      string `json:"json,omitempty"`
	DC        int    `json:"dc_id"`
	Test      bool   `json:"test"`
	Address   string `json:"address,omitempty"`
	Port      int    `json:"port,omitempty"`
	AuthKey   string `json:"auth_key"`
	AuthKeyID string `json:"auth_key_id"`
}

func tell(data *session.Data) (told, error) {
	host, port, err := net.SplitHostPort(data.Addr)
	if err != nil {
		return told{}, err
	}
	number, err := strconv.Atoi(port)
	return told{
		DC:        data.DC,
		Test:      data.Config.TestMode,
		Address:   host,
		Port:      number,
		AuthKey:   hex.EncodeToString(data.AuthKey),
		AuthKeyID: hex.EncodeToString(data.AuthKeyID),
	}, err
}

// A session of a key that nobody has. The library itself makes it of a string, with the key's id.
func made(dc byte, ip [4]byte, test bool) (told, error) {
	ctx := context.Background()
	body := append([]byte{dc}, ip[:]...)
	body = append(body, 443>>8, 443&255)
	key := make([]byte, 256)
	if _, err := rand.Read(key); err != nil {
		return told{}, err
	}
	data, err := session.TelethonSession("1" + base64.URLEncoding.EncodeToString(append(body, key...)))
	if err != nil {
		return told{}, err
	}
	data.Config.TestMode = test
	data.Config.ThisDC = int(dc)
	storage := &session.StorageMemory{}
	loader := session.Loader{Storage: storage}
	if err := loader.Save(ctx, data); err != nil {
		return told{}, err
	}
	said, err := tell(data)
	if err != nil {
		return told{}, err
	}
	text, err := storage.Bytes(nil)
	said.JSON = string(text)
	return said, err
}

func opened(text []byte) (told, error) {
	ctx := context.Background()
	storage := &session.StorageMemory{}
	if err := storage.StoreSession(ctx, text); err != nil {
		return told{}, err
	}
	loader := session.Loader{Storage: storage}
	data, err := loader.Load(ctx)
	if err != nil {
		return told{}, err
	}
	return tell(data)
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/gotd/td" {
			return module.Version
		}
	}
	return ""
}

func run(deed string) error {
	output := json.NewEncoder(os.Stdout)
	if deed == "make" {
		var sessions []told
		for _, which := range []struct {
			dc   byte
			ip   [4]byte
			test bool
		}{
			{1, [4]byte{149, 154, 175, 53}, false},
			{2, [4]byte{149, 154, 167, 50}, false},
			{2, [4]byte{149, 154, 167, 40}, true},
			{5, [4]byte{91, 108, 56, 130}, false},
		} {
			said, err := made(which.dc, which.ip, which.test)
			if err != nil {
				return err
			}
			sessions = append(sessions, said)
		}
		return output.Encode(map[string]any{"version": version(), "sessions": sessions})
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		said, err := opened(lines.Bytes())
		if err != nil {
			return err
		}
		if err := output.Encode(said); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
