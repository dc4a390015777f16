import LMoECore
import LMoEFormat
import Testing

@Test func smoke() throws {
  let path = "/tmp/smoke.lmoe"
  try? PosixFileSystem().remove(path)
  let writer = try BundleWriter(creating: path)
  var values: [UInt8] = []
  var state: UInt64 = 1
  for _ in 0..<1_500_000 {
    var x: Float = 0
    for _ in 0..<4 { state = state &* 6364136223846793005 &+ 1442695040888963407; x += Float(Int32(truncatingIfNeeded: state >> 33)) / 1e9 - 1 }
    let bits = UInt16(truncatingIfNeeded: (x * 0.02).bitPattern >> 16)
    values.append(UInt8(truncatingIfNeeded: bits)); values.append(UInt8(bits >> 8))
  }
  let type = TensorType(dtype: .bf16, shape: [1500, 1000])!
  try writer.addBank("base", card: ["card": 1, "kind": "base"], entries: [
    NewEntry(tensor: "a", type: type, source: MemorySource(values)),
    NewEntry(tensor: "b", type: type, source: MemorySource(values)),
    NewEntry(document: "files/x", bytes: Array("hello".utf8)),
  ])
  try writer.commit(note: "import")
  let bundle = try Bundle(path: path)
  let bank = try bundle.bank("base")
  let manifest = try bundle.manifest(of: bank)
  print(bank.storedBytes, manifest.entries.map { ($0.name, $0.storedBytes) }, bundle.fileBytes)
  #expect(try bundle.bytes(of: manifest.tensor("a")!, in: bank) == values)
  #expect(try bundle.verify(decoding: true).isEmpty)
  #expect(try bundle.verify(decoding: false).isEmpty)
  let w2 = try BundleWriter(appendingTo: path)
  try w2.addBank("expert/x", card: ["card": 1], entries: [NewEntry(tensor: "c", type: type, source: MemorySource(values))])
  try w2.commit(note: "add x")
  let b2 = try Bundle(path: path)
  print(b2.generation, b2.banks.map(\.name), try b2.history().map(\.root.note))
  var c = Compaction(); c.codec = .raw
  print(try c.run(path))
  print(try Bundle(path: path).bank("base").isRaw)
  #expect(try Bundle(path: path).verify(decoding: true).isEmpty)
}
