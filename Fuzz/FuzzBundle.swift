@testable import LMoECore
@testable import LMoEFormat

/// One worker: no threads, and the same order of work each time.
private let pool = WorkerPool(count: 1)
private let path = "fuzz.lmoe"
/// Raw bytes beyond which a bundle is not decoded, to keep the fuzzer fast.
private let maximumRawBytes = 1 << 20

/// Opens a bundle with all checksums on, reads all of it, and writes to it.
func fuzzBundle(_ input: [UInt8]) {
  let isWhole = input.count >= Int(Limits.fixedArea)
  let file = isWhole ? input : CompactForm.sealed(CompactForm.expand(input))
  var options = BundleOptions()
  if let bundle = readAll(file, options), isSmall(bundle) {
    append(to: file, bundle)
    compact(file, bundle, variant: input.count)
  }
  options.recovers = true
  options.usesMap = false
  if let bundle = readAll(file, options), isSmall(bundle) {
    _ = try? bundle.verify(decoding: true, on: pool)
  }
}

/// Opens a bundle with all checksums off, and reads all of it.
func fuzzUncheckedBundle(_ input: [UInt8]) {
  let file = CompactForm.expand(input)
  var options = BundleOptions()
  options.checksMetadata = false
  options.verification = .off
  if readAll(file, options) == nil {
    options.recovers = true
    readAll(file, options)
  }
}

@discardableResult
private func readAll(_ bytes: [UInt8], _ options: BundleOptions) -> Bundle? {
  let system = SimulatedFileSystem(files: [path: bytes])
  guard let bundle = try? Bundle(path: path, options: options, in: system) else { return nil }
  checkRoot(bundle.root, in: bytes, at: bundle.superblock.root)
  for bank in bundle.banks {
    require(bundle.root.bank(bank.name) == bank, "a bank is found by its name")
    _ = try? bundle.manifest(of: bank)
    _ = try? bundle.card(of: bank)
    // The bytes themselves: the root repeats sums and a hash of them, which no mutation gets right.
    guard let bytes = try? bundle.read(bank.manifest, damaged: .manifestDamaged),
      let manifest = try? Manifest(
        parsing: bytes, isExternal: bank.isExternal, end: bundle.superblock.root.offset)
    else { continue }
    require(manifest.encoded() == bytes, "a manifest is written in one way only")
    _ = manifest.contentID
    if manifest.entries.allSatisfy({ $0.type.rawBytes <= maximumRawBytes / manifest.entries.count }) {
      for entry in manifest.entries { decode(entry, in: bank, of: bundle) }
    }
  }
  _ = try? bundle.liveBytes()
  if let history = try? bundle.history() {
    for (younger, older) in zip(history, history.dropFirst()) {
      require(younger.root.generation > older.root.generation, "history is sorted")
    }
  }
  return bundle
}

private func isSmall(_ bundle: Bundle) -> Bool {
  bundle.banks.reduce(0) { $0 + $1.logicalBytes } <= UInt64(maximumRawBytes)
}

private var writing: BundleWriter.Options {
  var options = BundleWriter.Options()
  options.pool = pool
  options.clock = { 1 }
  return options
}

/// A generation is added, and an older one made current.
private func append(to file: [UInt8], _ bundle: Bundle) {
  let system = SimulatedFileSystem(files: [path: file])
  guard let writer = try? BundleWriter(appendingTo: path, options: writing, in: system) else { return }
  if let first = bundle.banks.first { try? writer.removeBank(first.name) }
  guard let generation = try? writer.commit(note: "fuzz") else { fatalError("it does not commit") }
  require(generation > bundle.generation, "a commit makes a newer generation")
  _ = try? BundleWriter.restore(path, generation: bundle.generation, options: writing, in: system)
  guard let again = try? Bundle(path: path, in: system) else { fatalError("it cannot open what it wrote") }
  require(again.root.banks == bundle.root.banks, "restoring brings the banks back")
}

/// A whole bundle is rewritten.
private func compact(_ file: [UInt8], _ bundle: Bundle, variant: Int) {
  let system = SimulatedFileSystem(files: [path: file])
  var compaction = Compaction()
  compaction.options = writing
  compaction.keepsHistory = variant % 4 == 1
  compaction.codec = [nil, nil, .raw, .planes][variant % 4]
  guard (try? compaction.run(path, output: "compact.lmoe", in: system)) != nil else {
    require(system.paths == [path], "a compaction that fails leaves nothing behind")
    return
  }
  guard let again = try? Bundle(path: "compact.lmoe", in: system) else {
    fatalError("it cannot open its copy")
  }
  require(again.banks.map(\.contentID) == bundle.banks.map(\.contentID), "a copy has the same content")
  if let damage = try? bundle.verify(decoding: true, on: pool), damage.isEmpty {
    require((try? again.verify(decoding: true, on: pool)) == [], "a copy of a whole bundle is whole")
  }
}

private func checkRoot(_ root: Root, in file: [UInt8], at extent: Extent) {
  let body = root.encoded().bytes.dropLast(Root.trailerBytes)
  require(file[Int(extent.offset)...].starts(with: body), "a root is written in one way only")
  for bank in root.banks {
    let kind = bank.name.utf8.prefix { $0 != UInt8(ascii: "/") }
    require(bank.kind.utf8.elementsEqual(kind), "the kind is what stands before the first slash")
    let rest = bank.name.utf8.dropFirst(kind.count + 1)
    require(bank.shortName.utf8.elementsEqual(rest), "the short name is what stands after it")
  }
}

private func decode(_ entry: Entry, in bank: BankEntry, of bundle: Bundle) {
  let mapped = try? bundle.mappedBytes(of: entry, in: bank)
  guard let bytes = try? bundle.bytes(of: entry, in: bank, on: pool) else { return }
  if let (region, range) = mapped {
    let isSame = unsafe UnsafeRawBufferPointer(rebasing: region.bytes[range]).elementsEqual(bytes)
    require(isSame, "the map and the decoder agree")
  }
  // Chunks are decoded whole or in part, as the range wants.
  let part = bytes.count / 3..<bytes.count - bytes.count / 5
  let buffer = RawBuffer(count: part.count)
  let source = EntrySource(reader: bundle.chunkReader, entry: entry)
  do throws(FormatError) {
    try unsafe source.read(into: buffer.prefix(part.count), at: UInt64(part.lowerBound))
  } catch {
    fatalError("a part of a whole entry cannot be read: \(error)")
  }
  let isSame = unsafe buffer.prefix(part.count).elementsEqual(bytes[part])
  require(isSame, "a part is a part of the whole")
}
