@testable import LMoECore
@testable import LMoEFormat

/// Parses a safetensors file, and the same header as one that was kept without its tensors.
func fuzzSafetensors(_ input: [UInt8]) {
  checkFile(input)
  guard input.count >= 8 else { return }
  // With the length word set right, mutations that lengthen or shorten the text get further.
  let declared = Fields(input).u64(0)
  let json = input[8...].prefix(Int(min(declared, UInt64(input.count - 8))))
  var head: [UInt8] = []
  head.append(little: UInt64(json.count))
  head += json
  guard let header = try? SafetensorsHeader(head: head) else { return }
  let dataBytes = header.tensors.reduce(0) { $0 + $1.type.rawBytes }
  if dataBytes <= 1 << 16 {
    head.append(zeros: dataBytes)
    require(checkFile(head), "a file is accepted whose header alone is")
  }
}

@discardableResult
private func checkFile(_ bytes: [UInt8]) -> Bool {
  let path = "fuzz.safetensors"
  let system = SimulatedFileSystem(files: [path: bytes])
  guard let file = try? SafetensorsFile(path: path, in: system) else { return false }
  var position = UInt64(file.head.count)
  for tensor in file.tensors {
    require(tensor.offset == position, "each tensor begins where the one before it ends")
    position += UInt64(tensor.type.rawBytes)
  }
  require(position == UInt64(bytes.count), "the tensors cover the file")
  require(Array(bytes.prefix(file.head.count)) == file.head, "the head is the file's")
  require((try? JSON(parsing: Array(file.head[8...]))) != nil, "the header is JSON")
  let kept = try? SafetensorsHeader(head: file.head)
  require(kept?.tensors == file.tensors, "a header says the same without its file")
  return true
}

/// Parses a JSON text, writes it and parses that.
func fuzzJSON(_ input: [UInt8]) {
  var cursor = JSONCursor(input)
  let isSkipped: Bool
  do throws(JSONError) {
    try cursor.skipValue()
    try cursor.end()
    isSkipped = true
  } catch { isSkipped = false }
  let value = try? JSON(parsing: input)
  require(isSkipped == (value != nil), "skipping checks as much as parsing")
  guard let value else { return }
  for isPretty in [false, true] {
    let text = value.serialized(pretty: isPretty)
    guard let again = try? JSON(parsing: Array(text.utf8)) else { fatalError("it cannot read what it wrote") }
    require(again == value && value == again, "a value survives writing and reading")
    require(again.serialized(pretty: isPretty).hasSameBytes(as: text), "a value is written in one way only")
  }
  visitNumbers(value)
}

private func visitNumbers(_ value: JSON) {
  switch value {
  case .number:
    if let whole = value.int { require(value.double == Double(whole), "an integer is that double") }
  case .array(let elements): elements.forEach(visitNumbers)
  case .object(let object): object.members.forEach { visitNumbers($0.value) }
  default: break
  }
}
