/// Finds the first of many texts, and of those that start there the longest.
struct TokenTrie: Sendable {
  private struct Node {
    let byte: UInt8
    var child: Int32 = -1
    var sibling: Int32 = -1
    var number = -1
  }

  private var nodes = [Node(byte: 0)]
  private var isStart = [Bool](repeating: false, count: 256)

  /// Whether nothing can be found.
  var isEmpty: Bool { nodes.count == 1 }

  /// Adds a token's text; false if it is there already.
  ///
  /// Empty texts are found nowhere.
  mutating func insert(_ token: AddedToken) -> Bool {
    guard let first = token.text.first else { return true }
    isStart[Int(first)] = true
    var node = 0
    for byte in token.text {
      if let child = child(of: node, byte) {
        node = child
      } else {
        var child = Node(byte: byte)
        child.sibling = nodes[node].child
        nodes[node].child = Int32(nodes.count)
        node = nodes.count
        nodes.append(child)
      }
    }
    guard nodes[node].number < 0 else { return false }
    nodes[node].number = token.number
    return true
  }

  private func child(of node: Int, _ byte: UInt8) -> Int? {
    var child = nodes[node].child
    while child >= 0 {
      if nodes[Int(child)].byte == byte { return Int(child) }
      child = nodes[Int(child)].sibling
    }
    return nil
  }

  /// The first match at or after `start`.
  func firstMatch(in text: [UInt8], from start: Int) -> (number: Int, range: Range<Int>)? {
    for index in start..<max(start, text.count) where isStart[Int(text[index])] {
      var node = 0
      var end = index
      var found: (Int, Range<Int>)?
      while end < text.count, let next = child(of: node, text[end]) {
        node = next
        end += 1
        if nodes[node].number >= 0 { found = (nodes[node].number, index..<end) }
      }
      if let found { return found }
    }
    return nil
  }
}
