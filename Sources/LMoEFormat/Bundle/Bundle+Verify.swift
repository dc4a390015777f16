public import LMoECore

extension Bundle {
  /// Checks every byte that this generation names, and reports all damage, in order.
  ///
  /// - Parameters:
  ///   - decoding: Also decode every chunk and compare the content hashes. Without it, the hashes of the
  ///     stored bytes are compared, which covers damage of every kind after writing.
  ///   - pool: The workers.
  ///   - progress: Called after each chunk with the number of its bytes, stored or with `decoding` raw, from
  ///     any worker.
  /// - Returns: One error for each damaged manifest, card and chunk, or with `decoding` for each damaged entry;
  ///   empty if all is well.
  public func verify(
    decoding: Bool, on pool: WorkerPool = .shared, progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws(FormatError) -> [FormatError] {
    var damage: [FormatError] = []
    // What is known of each extent, however many entries and banks share it.
    var checked: [Chunk: FormatError?] = [:]
    for bank in banks {
      do throws(FormatError) { _ = try card(of: bank) } catch { damage.append(error) }
      let manifest: Manifest
      do throws(FormatError) { manifest = try self.manifest(of: bank) } catch {
        damage.append(error)
        continue
      }
      for entry in manifest.entries where entry.type.rawBytes == 0 || (decoding && !entry.chunks.isEmpty) {
        do throws(FormatError) {
          try unsafe decode([BankedEntry(bank: bank.name, entry: entry)], on: pool) { (_, _, bytes) in
            progress(UInt64(bytes.count))
          }
        } catch { damage.append(error) }
      }
      if !decoding {
        check(manifest.entries.flatMap(\.chunks).filter { checked[$0] == nil }, on: pool, progress, &checked)
        for entry in manifest.entries {
          for chunk in entry.chunks {
            if let error = checked[chunk] ?? nil {
              damage.append(error.at(path: path, bank: bank.name, entry: entry.name))
            }
          }
        }
      }
    }
    return damage
  }

  private func check(
    _ chunks: [Chunk], on pool: WorkerPool, _ progress: @escaping @Sendable (UInt64) -> Void,
    _ checked: inout [Chunk: FormatError?]
  ) {
    let found = Guarded<[Chunk: FormatError]>([:])
    let queue = WorkQueue(count: chunks.count)
    pool.run { _ in
      let window = CheckWindow()
      while let number = queue.next() {
        let chunk = chunks[number]
        do throws(FormatError) {
          try self.chunkReader.check(chunk, with: window)
        } catch {
          found.withValue { $0[chunk] = error }
        }
        progress(UInt64(chunk.storedLength))
      }
    }
    let damage = found.withValue { $0 }
    for chunk in chunks { checked[chunk] = .some(damage[chunk]) }
  }
}
