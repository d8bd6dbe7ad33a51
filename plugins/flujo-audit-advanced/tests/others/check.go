// Verifies logs with Go's sumdb/note and sumdb/tlog: check VERIFIER-KEY, the folders on standard input, one a line.
// Prints "ok" or what is wrong, one line for each. Beside the tiles, a file "proofs" has proofs that are checked too.
package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"check/note"
	"check/tlog"
)

type folder string

func (f folder) Height() int { return 8 }

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func number(n int64) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	return path
}

func (f folder) read(level string, n int64, width int) ([]byte, error) {
	path := filepath.Join(string(f), "tile", level, number(n))
	if width < 256 {
		path = fmt.Sprintf("%s.p/%d", path, width)
	}
	return os.ReadFile(path)
}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		data, err := f.read(strconv.Itoa(tile.L), tile.N, tile.W)
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, errors.New("a tile of another length")
		}
		found = append(found, data)
	}
	return found, nil
}

func checkpoint(f folder, verifier note.Verifier) (tlog.Tree, error) {
	data, err := os.ReadFile(filepath.Join(string(f), "checkpoint"))
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not the checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func records(f folder, tree tlog.Tree, reader tlog.HashReader) error {
	for start := int64(0); start < tree.N; start += 256 {
		width := min(256, tree.N-start)
		data, err := f.read("entries", start/256, int(width))
		if err != nil {
			return err
		}
		var indexes []int64
		for n := start; n < start+width; n++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, n))
		}
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for place, hash := range hashes {
			if len(data) < 2 || len(data) < 2+int(data[0])<<8+int(data[1]) {
				return errors.New("a bundle that ends too early")
			}
			end := 2 + int(data[0])<<8 + int(data[1])
			if tlog.RecordHash(data[2:end]) != hash {
				return fmt.Errorf("record %d is another", start+int64(place))
			}
			data = data[end:]
		}
		if len(data) != 0 {
			return errors.New("a bundle with more records")
		}
	}
	return nil
}

func proofs(f folder, tree tlog.Tree, reader tlog.HashReader) error {
	data, err := os.ReadFile(filepath.Join(string(f), "proofs"))
	if err != nil {
		return err
	}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		fields := strings.Fields(line)
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return err
		}
		var hashes []tlog.Hash
		for _, one := range fields[2:] {
			raw, err := base64.StdEncoding.DecodeString(one)
			if err != nil || len(raw) != tlog.HashSize {
				return errors.New("a proof with something that is no hash")
			}
			hashes = append(hashes, tlog.Hash(raw))
		}
		if fields[0] == "record" {
			found, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
			if err != nil {
				return err
			}
			err = tlog.CheckRecord(hashes, tree.N, tree.Hash, n, found[0])
			if err != nil {
				return err
			}
		} else if err := tlog.CheckTree(hashes[1:], tree.N, tree.Hash, n, hashes[0]); err != nil {
			return err
		}
	}
	return nil
}

func check(f folder, verifier note.Verifier) error {
	tree, err := checkpoint(f, verifier)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, f)
	if err := records(f, tree, reader); err != nil {
		return err
	}
	return proofs(f, tree, reader)
}

func main() {
	verifier, err := note.NewVerifier(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := check(folder(lines.Text()), verifier); err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
}
